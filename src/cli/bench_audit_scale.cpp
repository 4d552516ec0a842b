// bench audit, the parts that depend on how long the log is: proofs and the first page of each search, by
// HTTP, from a log of options.rows entries that came in the way that every entry comes.
//
// The events are those of a service with 50 tenants over 90 days: 96 of 100 are inferences that succeeded,
// and the rest failures, refusals, keys and configurations, so that all three retention classes and four
// months have some. Each search is asked with values that are common, rare and absent.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <thread>

#include "aio/run.hpp"
#include "app/audit_secrets.hpp"
#include "app/service.hpp"
#include "base/random.hpp"
#include "base/time_text.hpp"
#include "base/uuid.hpp"
#include "cli/bench_audit.hpp"
#include "cli/migrate.hpp"
#include "http/client.hpp"
#include "json/parse.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t events_a_request = 5'000;
constexpr std::size_t undrained_max = 500'000;  // so that the journal does not fill
constexpr std::size_t requests_a_look = 20;     // at how far the drain has come
constexpr std::size_t rounds_of_searches = 20;
constexpr auto span = std::chrono::days(90);
constexpr double proof_ms_goal = 2, search_ms_goal = 100;

constexpr std::uint64_t tenants = 50, users = 2'000, keys = 20'000, models = 8, versions = 8, teams = 500;

struct Daemon {
  std::unique_ptr<app::Service> service;
  asio::io_context context{1};
  std::optional<http::Client> client;

  Result<http::ClientResponse> call(http::Method method, const std::string& target, std::string body,
                                    Monotonic::duration time) {
    CITADEL_ASSIGN(auto answer, aio::run(context, client->request(method, target,
                                                                  {{"Content-Type", "application/x-ndjson"}},
                                                                  std::move(body), Deadline::after(time))));
    if (answer.status >= 300)
      return fail(Code::internal, fmt::format("{}: status {}: {}", target, answer.status, answer.body));
    return answer;
  }
  // Of a GET.
  Result<double> ms_of(const std::string& target) {
    const auto began = Monotonic::now();
    CITADEL_TRY(call(http::Method::get, target, "", 60s));
    return std::chrono::duration<double, std::milli>(Monotonic::now() - began).count();
  }
};

Result<std::unique_ptr<Daemon>> start_daemon(const app::Config& config) {
  auto daemon = std::make_unique<Daemon>();
  const std::string key(40, 'k');
  CITADEL_ASSIGN(daemon->service,
                 app::Service::start(config, Secret(key), std::nullopt, Deadline::after(30s)));
  CITADEL_ASSIGN(auto address, http::parse_url(daemon->service->url()));
  address.api_key = Secret(key);
  daemon->client.emplace(daemon->context.get_executor(), std::move(address));
  return daemon;
}

// ---- what the log is filled with

// Few tenants have most of the events.
std::string tenant_of(Random& random) {
  return fmt::format("tenant-{}", random.below(random.below(tenants) + 1));
}
std::string model_of(Random& random) {
  return fmt::format("model-{}/{}", random.below(models), random.below(versions));
}
std::string trace_of(std::uint64_t number) {
  SeededRandom random(number);
  return fmt::format("{:016x}{:016x}", random.next() | 1, random.next());
}

struct Rest {
  std::string_view action, object_type, outcome;
};
// What is not an inference that succeeded, each as likely.
constexpr auto rest = std::to_array<Rest>({
    {"inference.error", "model_version", "failure"},
    {"inference.error", "model_version", "failure"},
    {"auth.success", "api_key", "success"},
    {"auth.failure", "api_key", "failure"},
    {"key.denied", "api_key", "denied"},
    {"key.create", "api_key", "success"},
    {"key.revoke", "api_key", "success"},
    {"config.change", "configuration", "success"},
});
constexpr std::uint64_t rest_in_a_hundred = 4;

// `at`: when it happened; the id is of now, as where a gateway sends what it kept.
void append_event(std::string& out, std::uint64_t number, WallTime now, WallTime at, Random& random) {
  const bool is_rest = random.below(100) < rest_in_a_hundred;
  const Rest kind =
      is_rest ? rest[random.below(rest.size())] : Rest{"inference.complete", "model_version", "success"};
  const auto actor = is_rest ? fmt::format(R"("type":"user","id":"user-{}@example.com")", random.below(users))
                             : fmt::format(R"("type":"service","id":"gateway-{}")", random.below(10));
  const auto object =
      kind.object_type == "model_version" ? model_of(random) : fmt::format("key-{}", random.below(keys));
  fmt::format_to(std::back_inserter(out),
                 R"({{"id":"{}","time":"{}","tenant":"{}","actor":{{{}}},"action":"{}",)"
                 R"("object":{{"type":"{}","id":"{}"}},"outcome":"{}","trace_id":"{}","request_id":"req-{}")",
                 new_uuid7(now, random).to_string(), format_time(at), tenant_of(random), actor, kind.action,
                 kind.object_type, object, kind.outcome, trace_of(number), number);
  if (kind.outcome != "success")
    fmt::format_to(std::back_inserter(out), R"(,"reason":"the quota of team {} is used up")",
                   random.below(teams));
  out += "}\n";
}

Result<std::uint64_t> signed_entries(Daemon& daemon) {
  CITADEL_ASSIGN(const auto answer, daemon.call(http::Method::get, "/v1/status", "", 60s));
  CITADEL_ASSIGN(const auto status, json::parse(answer.body, {}));
  boost::system::error_code missing;
  const auto* const size = status.find_pointer("/audit/checkpoint/size", missing);
  return size == nullptr ? 0 : size->to_number<std::uint64_t>();
}

Result<std::uint64_t> wait_signed(Daemon& daemon, std::size_t rows, Deadline deadline) {
  for (;;) {
    CITADEL_ASSIGN(const auto size, signed_entries(daemon));
    if (size >= rows) return size;
    if (deadline.expired())
      return fail(Code::deadline_exceeded, fmt::format("only {} entries were signed", size));
    std::this_thread::sleep_for(100ms);  // sleep: until the drain has caught up
  }
}

Result<std::uint64_t> fill_log(const Context& context, Daemon& daemon, std::size_t rows, WallTime start,
                               Random& random) {
  const auto deadline = Deadline::after(std::chrono::seconds(60) + std::chrono::milliseconds(rows / 2));
  std::size_t requests = 0;
  // Where an earlier run has filled it.
  CITADEL_ASSIGN(std::size_t done, wait_signed(daemon, 1, deadline));
  for (; done < rows; ++requests) {
    const auto now = system_clock().wall();
    std::string body;
    for (const auto end = std::min(rows, done + events_a_request); done < end; ++done) {
      const auto at = start + std::chrono::duration_cast<WallTime::duration>(
                                  span * (static_cast<double>(done) / static_cast<double>(rows)));
      append_event(body, done, now, at, random);
    }
    CITADEL_TRY(daemon.call(http::Method::post, "/v1/audit/events", std::move(body), 60s));
    if (requests % requests_a_look != 0 || done < undrained_max) continue;
    CITADEL_ASSIGN(const auto size, wait_signed(daemon, done - undrained_max, deadline));
    if (requests % (10 * requests_a_look) == 0) *context.err << fmt::format("{} entries\n", size);
  }
  return wait_signed(daemon, rows, deadline);
}

// ---- what is measured

Result<Metric> proofs(const Context& context, Daemon& daemon, std::uint64_t size,
                      std::chrono::seconds seconds, Random& random) {
  std::vector<double> took;
  for (const auto end = Monotonic::now() + seconds; Monotonic::now() < end;) {
    CITADEL_ASSIGN(took.emplace_back(),
                   daemon.ms_of(fmt::format("/v1/audit/proof?index={}", random.below(size))));
  }
  *context.err << fmt::format("{} proofs: median {:.2f} ms\n", took.size(), median(took));
  return Metric{fmt::format("proof_by_http_p99_of_{}", size),
                "ms",
                percentile(took, 0.99),
                std::nullopt,
                "",
                GoalKind::ours_below,
                proof_ms_goal};
}

struct Kind {
  std::string_view name;
  std::vector<std::string> queries;
};

// A first page of each kind, with values drawn anew.
std::vector<Kind> searches(std::size_t rows, WallTime start, Random& random) {
  const auto day = [&](std::uint64_t number) {
    return format_time(start + std::chrono::days(number)).substr(0, 19) + "Z";
  };
  const auto from = random.below(80);
  const auto number = random.below(rows);
  return {
      {"time",
       {"", fmt::format("from={}&to={}", day(from), day(from + 7)),
        fmt::format("to={}", format_time(start + std::chrono::hours(1)).substr(0, 19) + "Z")}},
      {"tenant", {"tenant=tenant-0", fmt::format("tenant=tenant-{}", tenants - 1), "tenant=nobody"}},
      {"actor",
       {"actor=gateway-1", fmt::format("actor=user-{}%40example.com", random.below(users)), "actor=nobody",
        "actor_type=user"}},
      {"action",
       {"action=inference.complete", "action=key.denied", "action=config.change", "action=role.grant"}},
      {"object",
       {"object=model-1/1", fmt::format("object=key-{}", random.below(keys)), "object=nothing",
        "object_type=configuration"}},
      {"outcome", {"outcome=success", "outcome=failure", "outcome=denied", "outcome=unknown"}},
      {"trace", {fmt::format("trace_id={}", trace_of(number)), fmt::format("trace_id={:032x}", number + 1)}},
      {"request", {fmt::format("request_id=req-{}", number), "request_id=none"}},
      {"text",
       {"text=inference", "text=quota", fmt::format("text=team+{}", random.below(teams)),
        fmt::format("text=user+{}", random.below(users)), fmt::format("text=key+{}", random.below(keys)),
        "text=inference+nowhere"}},
      {"two",
       {"tenant=tenant-0&outcome=denied", fmt::format("tenant=tenant-{}&action=config.change", tenants - 1),
        fmt::format("actor=user-{}%40example.com&outcome=success", random.below(users)),
        fmt::format("tenant=tenant-{}&text=quota", tenants - 1)}},
  };
}

Result<void> first_pages(const Context& context, Daemon& daemon, std::size_t rows, WallTime start,
                         Random& random, Metrics& out) {
  std::vector<std::vector<double>> took;
  std::vector<std::pair<double, std::string>> worst;
  for (std::size_t round = 0; round < rounds_of_searches; ++round) {
    const auto kinds = searches(rows, start, random);
    took.resize(kinds.size());
    worst.resize(kinds.size());
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      for (const auto& query : kinds[i].queries) {
        CITADEL_ASSIGN(const auto ms, daemon.ms_of("/v1/audit/events?" + query));
        took[i].push_back(ms);
        worst[i] = std::max(worst[i], {ms, query});
      }
    }
  }
  const auto kinds = searches(rows, start, random);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const auto middle = median(took[i]);
    *context.err << fmt::format("first page by {}: median {:.1f} ms, slowest {:.1f} ms: {}\n", kinds[i].name,
                                middle, worst[i].first, worst[i].second);
    out.push_back({fmt::format("search_by_{}_first_page_p99_of_{}", kinds[i].name, rows), "ms",
                   percentile(took[i], 0.99), std::nullopt, "", GoalKind::ours_below, search_ms_goal});
  }
  return {};
}

}  // namespace

Result<Metrics> bench_audit_scale(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto servers, BenchServers::start(context, options.data));
  CITADEL_ASSIGN(auto config, servers.config());
  config.audit.enabled = true;
  config.audit.past_max = span + std::chrono::days(1);
  CITADEL_TRY(migrate_now(config, [](std::string_view) {}));
  CITADEL_TRY(app::make_audit_secrets(config.audit, "bench.example/audit"));
  SeededRandom random(random_seed());
  CITADEL_ASSIGN(const auto daemon, start_daemon(config));
  *context.err << fmt::format("a log of {} entries\n", options.rows);
  const auto start = system_clock().wall() - span;
  CITADEL_ASSIGN(const auto size, fill_log(context, *daemon, options.rows, start, random));
  Metrics out;
  CITADEL_ASSIGN(out.emplace_back(), proofs(context, *daemon, size, options.seconds, random));
  CITADEL_TRY(first_pages(context, *daemon, options.rows, start, random, out));
  CITADEL_TRY(daemon->service->stop(Deadline::after(60s)));
  return out;
}

}  // namespace citadel::cli
