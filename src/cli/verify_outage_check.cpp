#include "cli/verify_outage_check.hpp"

#include <fmt/format.h>

#include <atomic>
#include <boost/json.hpp>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "base/uuid.hpp"
#include "cli/api_client.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr int records = 20;
constexpr int callers = 8;  // the breaker needs calls to judge by
constexpr auto call_time = 5s;
constexpr auto opens_within = 45s;
constexpr auto heals_within = 60s;
constexpr auto poll = 50ms;

Result<void> run_command(const std::string& command) {
  // Standard output is for the report.
  const int code = std::system(fmt::format("{{ {}\n}} >&2", command).c_str());
  if (code != 0) return fail(Code::internal, fmt::format("'{}' failed (wait status {})", command, code));
  return {};
}

// Readers that come back again and again while this lives.
class Callers {
 public:
  explicit Callers(const Context& context) {
    for (int i = 0; i < callers; ++i) {
      threads_.emplace_back([this, &context] {
        auto client = ApiClient::open(context);
        while (client && !ended_) {
          static_cast<void>(client->get("/v1/usage", Deadline::after(call_time)));
          // sleep: a reader's pause between two reads
          std::this_thread::sleep_for(poll);
        }
      });
    }
  }
  ~Callers() { ended_ = true; }

 private:
  std::atomic<bool> ended_ = false;
  std::vector<std::jthread> threads_;
};

// Until `holds` is true of /v1/status; false at the deadline.
bool wait_for(ApiClient& client, Deadline deadline,
              const std::function<bool(const boost::json::value&)>& holds) {
  while (!deadline.expired()) {
    const auto status = client.get("/v1/status", Deadline::after(call_time));
    if (status && holds(*status)) return true;
    // sleep: polls what has no event
    std::this_thread::sleep_for(poll);
  }
  return false;
}

bool breaker_is(const boost::json::value& status, std::string_view state) {
  return status.at("database").at("breaker").at("state").as_string() == state;
}

std::vector<std::string> send_records(ApiClient& client) {
  SeededRandom random(random_seed());
  std::vector<std::string> acknowledged;
  for (int i = 0; i < records; ++i) {
    const auto id = new_uuid7(system_clock().wall(), random).to_string();
    const auto body = fmt::format(
        R"({{"id":"{}","tenant":"citadel-verify","model":"citadel-verify","prompt_tokens":0,"completion_tokens":0}})",
        id);
    const auto taken = client.call(http::Method::post, "/v1/requests", body, Deadline::after(call_time),
                                   {{"Content-Type", "application/json"}});
    if (taken && taken->status == 202) acknowledged.push_back(id);
  }
  return acknowledged;
}

}  // namespace

double ms_since(MonotonicTime begun) {
  return static_cast<double>(
             std::chrono::round<std::chrono::microseconds>(Monotonic::now() - begun).count()) /
         1000;
}

OutageOutcome check_outage(const Context& context, const OutageCommands& commands) {
  OutageOutcome out;
  out.limit = {{"acknowledged_min", records}, {"stored_min", records}};
  auto client = ApiClient::open(context);
  if (!client) {
    out.error = client.error().to_string();
    return out;
  }
  const Callers asking(context);
  const auto stopped = run_command(commands.stop);
  auto begun = Monotonic::now();
  const bool opened = stopped && wait_for(*client, Deadline::after(opens_within),
                                          [](const auto& status) { return breaker_is(status, "open"); });
  out.measured["breaker_opened"] = opened;
  out.measured["breaker_opened_after_ms"] = ms_since(begun);
  const auto ids = opened ? send_records(*client) : std::vector<std::string>();
  out.measured["acknowledged"] = ids.size();

  // Whatever happened: PostgreSQL must not stay stopped.
  const auto started = run_command(commands.start);
  begun = Monotonic::now();
  const bool healed =
      started && wait_for(*client, Deadline::after(heals_within), [](const auto& status) {
        return breaker_is(status, "closed") && status.at("journal").at("undrained_records").as_int64() == 0;
      });
  out.measured["healed_after_ms"] = ms_since(begun);
  out.measured["breaker_closed"] = healed;
  const auto stored = std::ranges::count_if(ids, [&](const std::string& id) {
    return client->get("/v1/requests/" + id, Deadline::after(call_time)).has_value();
  });
  out.measured["stored"] = stored;
  out.passed = opened && healed && ids.size() == records && stored == records;
  if (!stopped) {
    out.error = stopped.error().message;
  } else if (!started) {
    out.error = started.error().message + "; PostgreSQL may still be stopped";
  } else if (!out.passed) {
    out.error = !opened ? "the breaker did not open while PostgreSQL was stopped; is it the one that is used?"
                        : "records were refused meanwhile, or were not stored afterwards";
  }
  return out;
}

}  // namespace citadel::cli
