// citadel verify: proves a running deployment. What needs the pool runs inside the daemon; what a client sees
// (records taken and found again, metrics scraped) is tried from here.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <iostream>
#include <memory>
#include <thread>

#include "base/random.hpp"
#include "base/uuid.hpp"
#include "cli/api_client.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/verify_outage_check.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto verify_timeout = std::chrono::seconds(200);
constexpr auto stored_within = std::chrono::seconds(10);
constexpr auto stored_poll = std::chrono::milliseconds(20);
constexpr auto refused_poll = std::chrono::milliseconds(500);  // the database is away

struct Meaning {
  std::string_view id, text;
};
// The requirements, in words.
constexpr auto meanings = std::to_array<Meaning>({
    {"R1.connectivity", "the database answers on the way that is configured"},
    {"R2.concurrent_connections", "every session of the pool is busy at once, as pg_stat_activity shows"},
    {"R3.query_time", "standard queries, with as many callers as the pool has sessions"},
    {"R4.write_and_read_back", "a row that was written is read back"},
    {"R6.rollback", "nothing is left of a transaction that was rolled back"},
    {"R6.deadlock_retried", "a deadlock is run again, and no caller sees it"},
    {"R6.serialization_retried", "a serialization failure is run again, and no caller sees it"},
    {"R7.statement_timeout", "statement_timeout ends a statement"},
    {"R7.cancel", "a caller has its answer at its deadline, and the server stops working on it"},
    {"R8.outage", "PostgreSQL stopped: the breaker opens, records are taken, and stored afterwards"},
    {"R13.record", "a record sent by HTTP is found in the database"},
    {"R9.metrics", "metrics can be scraped"},
});

json::object make_check(std::string_view id, bool passed, json::object measured, json::object limit,
                        std::string error) {
  return {{"id", id},
          {"requirement", id.substr(0, id.find('.'))},
          {"passed", passed},
          {"measured", std::move(measured)},
          {"limit", std::move(limit)},
          {"error", error.empty() ? json::value(nullptr) : json::value(error)}};
}

// A record by HTTP, and the same record back out of the database.
json::object check_record(ApiClient& client) {
  SeededRandom random(random_seed());
  const auto id = new_uuid7(system_clock().wall(), random).to_string();
  const auto body = fmt::format(
      R"({{"id":"{}","tenant":"citadel-verify","model":"citadel-verify","prompt_tokens":0,"completion_tokens":0}})",
      id);
  json::object measured;
  auto begun = Monotonic::now();
  const auto taken =
      client.call(http::Method::post, "/v1/requests", body, Deadline::after(std::chrono::seconds(10)),
                  {{"Content-Type", "application/json"}});
  measured["acknowledged_ms"] = ms_since(begun);
  if (!taken) return make_check("R13.record", false, std::move(measured), {}, taken.error().to_string());
  if (taken->status != 202)
    return make_check("R13.record", false, std::move(measured), {}, client.refusal(*taken).to_string());
  begun = Monotonic::now();
  const auto give_up = Deadline::after(stored_within);
  for (;;) {
    const auto found = client.get("/v1/requests/" + id, Deadline::after(std::chrono::seconds(5)));
    if (found) measured["stored_ms"] = ms_since(begun);
    if (found || give_up.expired()) {
      return make_check("R13.record", found.has_value(), std::move(measured),
                        {{"stored_ms_max", std::chrono::milliseconds(stored_within).count()}},
                        found ? "" : found.error().to_string());
    }
    // sleep: polls what has no event
    std::this_thread::sleep_for(found.error().code == Code::not_found ? stored_poll : refused_poll);
  }
}

json::object check_metrics(ApiClient& client) {
  const auto scraped =
      client.call(http::Method::get, "/metrics", "", Deadline::after(std::chrono::seconds(10)));
  if (!scraped) return make_check("R9.metrics", false, {}, {}, scraped.error().to_string());
  std::size_t samples = 0;
  std::string_view rest = scraped->body;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.starts_with("citadel_")) ++samples;
  }
  return make_check("R9.metrics", scraped->status == 200 && samples > 0, {{"samples", samples}},
                    {{"samples_min", 1}}, "");
}

std::string text_of(const json::value& value) {
  if (value.is_double()) return fmt::format("{:.2f}", value.get_double());
  if (value.is_string()) return std::string(value.get_string());
  return citadel::json::serialize(value);
}

// "busy 100 (at least 100), took_ms 812.40"
std::string summary(const json::object& measured, const json::object& limit) {
  std::string out;
  for (const auto& [key, value] : measured) {
    if (!out.empty()) out += ", ";
    const std::string name(key);
    out += fmt::format("{} {}", name, text_of(value));
    if (const auto* least = limit.if_contains(name + "_min"))
      out += fmt::format(" (at least {})", text_of(*least));
    if (const auto* most = limit.if_contains(name + "_max"))
      out += fmt::format(" (at most {})", text_of(*most));
  }
  return out.empty() ? "nothing could be measured" : out;
}

void print_report(std::ostream& out, const json::object& report) {
  for (const auto& item : report.at("checks").as_array()) {
    const auto& check = item.as_object();
    const std::string_view id = check.at("id").as_string();
    const auto* const meaning = std::ranges::find(meanings, id, &Meaning::id);
    out << fmt::format("{}  {}\n", check.at("passed").as_bool() ? "passed" : "FAILED",
                       meaning == meanings.end() ? id : meaning->text)
        << fmt::format("        {}: {}\n", id,
                       summary(check.at("measured").as_object(), check.at("limit").as_object()));
    if (check.at("error").is_string())
      out << fmt::format("        why: {}\n", std::string_view(check.at("error").as_string()));
  }
  out << (report.at("passed").as_bool() ? "\nall checks passed\n" : "\nNOT all checks passed\n");
}

struct VerifyOptions {
  bool no_outage = false, disruptive = false;
  OutageCommands commands;
};

int run_verify(const Context& context, const VerifyOptions& options) {
  const bool commands = !options.commands.stop.empty() && !options.commands.start.empty();
  const bool any = !options.commands.stop.empty() || !options.commands.start.empty();
  if (options.disruptive ? !commands : any) {
    return context.report(Error(Code::invalid_argument,
                                "--disruptive needs --stop and --start, the commands that stop and start "
                                "PostgreSQL, and they need --disruptive"));
  }
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  if (!context.json) *context.err << "verifying " << context.url << "; it takes about half a minute\n";
  const std::string target =
      options.no_outage || options.disruptive ? "/v1/verify?disruptive=false" : "/v1/verify";
  const auto answer = client->call(http::Method::post, target, "", Deadline::after(verify_timeout));
  if (!answer) return context.report(answer.error());
  if (answer->status != 200) return context.report(client->refusal(*answer));
  auto report = json::parse(answer->body).as_object();
  auto& checks = report.at("checks").as_array();
  if (options.disruptive) {
    if (!context.json) *context.err << "stopping PostgreSQL: " << options.commands.stop << '\n';
    auto outcome = check_outage(context, options.commands);
    checks.push_back(make_check("R8.outage", outcome.passed, std::move(outcome.measured),
                                std::move(outcome.limit), std::move(outcome.error)));
  }
  checks.push_back(check_record(*client));
  checks.push_back(check_metrics(*client));
  const bool passed =
      std::ranges::all_of(checks, [](const json::value& c) { return c.at("passed").as_bool(); });
  report["passed"] = passed;
  if (context.json) {
    *context.out << citadel::json::serialize(report) << '\n';
  } else {
    print_report(*context.out, report);
  }
  return passed ? exit_good : exit_check_failed;
}

}  // namespace

void add_verify_command(Command app, Context& context) {
  const auto verify = app.add_subcommand("verify", "Prove a running deployment by measuring it");
  const auto options = std::make_shared<VerifyOptions>();
  verify.add_flag("--no-outage", options->no_outage, "With private servers: do not stop PostgreSQL");
  verify.add_flag("--disruptive", options->disruptive,
                  "With servers of your own: stop PostgreSQL too, by --stop and --start");
  verify.add_option("--stop", options->commands.stop, "The shell command that stops PostgreSQL");
  verify.add_option("--start", options->commands.start, "The shell command that starts it again, and waits");
  verify.callback([&context, options] { context.exit_code = run_verify(context, *options); });
}

}  // namespace citadel::cli
