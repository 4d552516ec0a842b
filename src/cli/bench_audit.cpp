// bench audit, the parts without a database: acknowledging, and verifying an export.
#include "cli/bench_audit.hpp"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <fstream>
#include <iostream>

#include "aio/run.hpp"
#include "app/audit_trail.hpp"
#include "app/service.hpp"
#include "audit/catalogue.hpp"
#include "audit/export_verifier.hpp"
#include "base/random.hpp"
#include "http/client.hpp"
#include "journal/format.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t producers = 64;
constexpr std::size_t events_a_gateway_sends = 10;
constexpr std::int64_t journal_bytes = std::int64_t{4} << 30;
constexpr std::size_t payload_bytes = 330;  // of bench_event(), sealed
constexpr std::size_t piece_bytes = 1 << 20;
constexpr double million = 1e6;

double us_since(MonotonicTime began) {
  return std::chrono::duration<double, std::micro>(Monotonic::now() - began).count();
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double resident_mib() {
  std::ifstream file("/proc/self/statm");
  double total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

Result<app::Config> config_in(const std::filesystem::path& folder) {
  CITADEL_ASSIGN(auto config,
                 app::parse_config("", "bench", {{"CITADEL_LOCAL_DATA=" + folder.string()}, {}, false}));
  config.journal.folder = folder / "journal";
  config.audit.signing_key_file = folder / "signing.key";
  config.audit.master_key_file = folder / "master.key";
  config.audit.checkpoint_folder = folder / "checkpoint";
  config.audit.journal_folder = folder / "audit-journal";
  config.audit.size_bytes_max = journal_bytes;
  config.http.listen = {"127.0.0.1", 0};
  CITADEL_TRY(app::make_audit_secrets(config.audit, "bench.example/audit"));
  return config;
}

struct Lone {
  double ours_us = 0, fdatasync_us = 0;  // medians
};

// Sealed and appended, beside one fdatasync of as many bytes, one after the other in the same loop.
Result<Lone> lone_producer(const std::filesystem::path& folder, std::chrono::seconds seconds) {
  CITADEL_ASSIGN(const auto config, config_in(folder));
  CITADEL_ASSIGN(auto secrets, app::load_audit_secrets(config.audit));
  CITADEL_ASSIGN(const auto trail, app::AuditTrail::open(config, std::move(secrets), system_clock()));
  CITADEL_ASSIGN(const auto file, make_yardstick(folder / "yardstick"));
  const std::string bytes(journal::frame_size(payload_bytes), 'y');
  SeededRandom random(random_seed());
  asio::io_context context{1};
  std::vector<double> ours, theirs;
  std::uint64_t number = 0;
  const auto end = Monotonic::now() + seconds;
  for (std::size_t at = 0; Monotonic::now() < end;
       at = (at + bytes.size()) % (yardstick_bytes - bytes.size())) {
    auto began = Monotonic::now();
    if (::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at)) < 0 ||
        ::fdatasync(file.get()) != 0)
      return fail_errno(errno, "the yardstick's file");
    theirs.push_back(us_since(began));
    const std::vector<audit::Event> events{bench_event(++number, system_clock().wall(), random)};
    began = Monotonic::now();
    CITADEL_TRY(aio::run(context, trail->record(events, Deadline::after(10s))));
    ours.push_back(us_since(began));
  }
  return Lone{median(std::move(ours)), median(std::move(theirs))};
}

// The daemon as it is, with its database away: the journal and the way to it alone are measured.
Result<double> acknowledged_per_second(const std::filesystem::path& folder, std::size_t events_a_request,
                                       std::chrono::seconds seconds) {
  std::filesystem::create_directory(folder);
  CITADEL_ASSIGN(auto config, config_in(folder));
  const std::string key(40, 'k');
  CITADEL_ASSIGN(config.database.port, free_port());  // nobody listens there
  config.database_direct.port = config.database.port;
  CITADEL_ASSIGN(const auto service,
                 app::Service::start(config, Secret(key), std::nullopt, Deadline::after(10s)));
  CITADEL_ASSIGN(const auto address, http::parse_url(service->url()));
  std::string body;
  for (std::size_t i = 0; i < events_a_request; ++i) body += bench_event_json() + "\n";
  CITADEL_ASSIGN(const auto load, run_load({.port = address.port,
                                            .method = "POST",
                                            .target = "/v1/audit/events",
                                            .body = body,
                                            .key = key,
                                            .connections = producers,
                                            .seconds = seconds},
                                           folder));
  // What it took waits in the journal for a database that never comes.
  const auto stopped = service->stop(Deadline::after(2s));
  if (!stopped && stopped.error().code != Code::deadline_exceeded) return std::unexpected(stopped.error());
  return load.requests * static_cast<double>(events_a_request) / load.seconds;
}

// Writes an export of `rows` entries, and gives the policy that it verifies under.
Result<tlog::LogPolicy> write_export(const std::filesystem::path& path, std::size_t rows) {
  const std::string origin = "bench.example/audit";
  CITADEL_ASSIGN(const auto signer, tlog::NoteSigner::generate(origin));
  const auto key = crypto::AesGcmKey::generate();
  SeededRandom random(random_seed());
  std::ofstream file(path, std::ios::binary);
  std::string text;
  audit::append_export_header(text, {.origin = origin, .size = rows, .before = {}});
  tlog::CompactRange tree;
  const auto now = system_clock().wall();
  for (std::size_t i = 0; i < rows; ++i) {
    const auto event = bench_event(i, now, random);
    CITADEL_ASSIGN(const auto action, audit::find_action(event.action));
    const auto record = audit::seal_event(event, action, key);
    const auto leaf = audit::encode_leaf(record.leaf(Uuid{{7}}, 1, i + 1, event.time));
    tree.append(tlog::leaf_hash(as_bytes(leaf)));
    CITADEL_TRY(audit::append_export_entry(
        text, {.index = i,
               .leaf = leaf,
               .tree_hash = {},
               .envelope = audit::ExportedContent{record.envelope_salt, record.envelope},
               .groups = {}}));
    if (text.size() >= piece_bytes) {
      file << text;
      text.clear();
    }
  }
  const tlog::Checkpoint checkpoint{.origin = origin, .size = rows, .root = tree.root(), .extensions = {}};
  CITADEL_ASSIGN(const auto note, tlog::sign_note(checkpoint.encode(), signer));
  audit::append_export_checkpoint(text, tlog::encode_note(note));
  file << text;
  if (!file.flush()) return fail(Code::io_error, "the export cannot be written");
  return tlog::LogPolicy{
      .origin = origin, .log_keys = {signer.verifier()}, .witnesses = {}, .witnesses_min = 0};
}

}  // namespace

audit::Event bench_event(std::uint64_t number, WallTime at, Random& random) {
  audit::Event event;
  event.id = new_uuid7(at, random);
  event.time = event.received_at = at;
  event.tenant = "acme";
  event.actor = {.type = "service", .id = "gateway-1"};
  event.action = "inference.complete";
  event.object = {.type = "model_version", .id = fmt::format("mixtral-8x7b/{}", number % 8)};
  event.outcome = audit::Outcome::success;
  event.trace_id = "0af7651916cd43dd8448eb211c80319c";
  event.request_id = fmt::format("req-{}", number);
  return event;
}

std::string bench_event_json() {
  return R"({"actor":{"type":"service","id":"gateway-1"},"action":"inference.complete","tenant":"acme",)"
         R"("object":{"type":"model_version","id":"mixtral-8x7b/1"},"outcome":"success",)"
         R"("trace_id":"0af7651916cd43dd8448eb211c80319c","request_id":"req-1"})";
}

Result<Metrics> bench_audit_append(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto folder, BenchFolder::make());
  *context.err << "a lone producer\n";
  CITADEL_ASSIGN(const auto lone, lone_producer(folder->path(), options.seconds));
  Metrics out{{"lone_event_median", "us", lone.ours_us, lone.fdatasync_us,
               "one write and fdatasync of as many bytes", GoalKind::ratio_at_most, 2}};
  for (const std::size_t events : {std::size_t{1}, events_a_gateway_sends}) {
    *context.err << fmt::format("{} producers, {} events a request\n", producers, events);
    CITADEL_ASSIGN(
        const auto measured,
        acknowledged_per_second(folder->path() / fmt::format("http-{}", events), events, options.seconds));
    out.push_back({fmt::format("http_{}_producers_{}_a_request", producers, events), "events/s", measured,
                   static_cast<double>(producers * events) * million / lone.fdatasync_us,
                   "a request of each producer for one fdatasync of this disk", GoalKind::ours_at_least,
                   30'000});
  }
  return out;
}

Result<Metrics> bench_audit_verify(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto folder, BenchFolder::make());
  const auto path = folder->path() / "export.jsonl";
  *context.err << fmt::format("an export of {} entries\n", options.rows);
  CITADEL_ASSIGN(auto policy, write_export(path, options.rows));
  std::ifstream file(path, std::ios::binary);
  audit::ExportVerifier verifier({.policy = std::move(policy)});
  std::string piece(piece_bytes, '\0');
  double at_first = 0;
  const double began = cpu_seconds();
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    CITADEL_TRY(verifier.feed(std::string_view(piece).substr(0, static_cast<std::size_t>(file.gcount()))));
    if (at_first == 0) at_first = resident_mib();
  }
  CITADEL_ASSIGN(const auto checkpoint, verifier.finish());
  const double took = cpu_seconds() - began;
  const double grown = std::max(0.0, resident_mib() - at_first);
  const auto rows = static_cast<double>(checkpoint.checkpoint.size);
  return Metrics{{"verify_offline_of_a_million", "s of one core", took / rows * million, std::nullopt, "",
                  GoalKind::ours_below, 3},
                 {"verify_memory_growth", "MiB", grown, std::nullopt, "", GoalKind::ours_below, 8}};
}

Result<Metrics> bench_audit(const Context& context, const BenchOptions& options) {
  Metrics all;
  for (auto* const part : {bench_audit_append, bench_audit_verify, bench_audit_log, bench_audit_scale}) {
    CITADEL_ASSIGN(auto metrics, part(context, options));
    all.insert(all.end(), std::make_move_iterator(metrics.begin()), std::make_move_iterator(metrics.end()));
  }
  return all;
}

}  // namespace citadel::cli
