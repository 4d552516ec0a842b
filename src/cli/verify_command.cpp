// citadel verify: proves a running deployment. What needs the pool runs inside the daemon; what a client sees
// (records taken and found again, metrics scraped) is tried from here.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <iostream>
#include <memory>
#include <thread>

#include "base/random.hpp"
#include "base/uuid.hpp"
#include "cli/api_client.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto verify_timeout = std::chrono::seconds(200);
constexpr auto stored_within = std::chrono::seconds(10);

json::object make_check(std::string_view id, bool passed, json::object measured, json::object limit,
                        std::string error) {
  return {{"id", id},
          {"requirement", id.substr(0, id.find('.'))},
          {"passed", passed},
          {"measured", std::move(measured)},
          {"limit", std::move(limit)},
          {"error", error.empty() ? json::value(nullptr) : json::value(error)}};
}

double ms_since(MonotonicTime begun) {
  return std::chrono::duration<double, std::milli>(Monotonic::now() - begun).count();
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
    return make_check("R13.record", false, std::move(measured), {}, error_of(*taken).to_string());
  begun = Monotonic::now();
  const auto give_up = Deadline::after(stored_within);
  for (;;) {
    const auto found = client.get("/v1/requests/" + id, Deadline::after(std::chrono::seconds(5)));
    if (found || give_up.expired()) {
      measured["stored_ms"] = ms_since(begun);
      return make_check("R13.record", found.has_value(), std::move(measured),
                        {{"stored_ms", std::chrono::milliseconds(stored_within).count()}},
                        found ? "" : found.error().to_string());
    }
    // sleep: polls what has no event
    std::this_thread::sleep_until(Monotonic::now() + std::chrono::milliseconds(20));
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

std::string summary(const json::value& value) {
  std::string out;
  for (const auto& [key, item] : value.as_object()) {
    if (!out.empty()) out += ", ";
    out += fmt::format("{} ", std::string_view(key));
    out += item.is_double()   ? fmt::format("{:.2f}", item.get_double())
           : item.is_string() ? std::string(item.get_string())
                              : json::serialize(item);
  }
  return out;
}

void print_report(std::ostream& out, const json::object& report) {
  Table table({{"check"}, {"result"}, {"measured"}, {"limit"}});
  for (const auto& item : report.at("checks").as_array()) {
    const auto& check = item.as_object();
    table.add({std::string(check.at("id").as_string()), check.at("passed").as_bool() ? "passed" : "FAILED",
               summary(check.at("measured")), summary(check.at("limit"))});
  }
  out << table.render();
  for (const auto& item : report.at("checks").as_array()) {
    const auto& check = item.as_object();
    if (check.at("error").is_string()) {
      out << fmt::format("{}: {}\n", std::string_view(check.at("id").as_string()),
                         std::string_view(check.at("error").as_string()));
    }
  }
  out << (report.at("passed").as_bool() ? "\nall checks passed\n" : "\nNOT all checks passed\n");
}

int run_verify(const Context& context, bool undisruptive) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  if (!context.json) *context.err << "verifying " << context.url << "; it takes about half a minute\n";
  const std::string target = undisruptive ? "/v1/verify?disruptive=false" : "/v1/verify";
  const auto answer = client->call(http::Method::post, target, "", Deadline::after(verify_timeout));
  if (!answer) return context.report(answer.error());
  if (answer->status != 200) return context.report(error_of(*answer));
  auto report = json::parse(answer->body).as_object();
  auto& checks = report.at("checks").as_array();
  checks.push_back(check_record(*client));
  checks.push_back(check_metrics(*client));
  const bool passed =
      std::ranges::all_of(checks, [](const json::value& c) { return c.at("passed").as_bool(); });
  report["passed"] = passed;
  if (context.json) {
    *context.out << json::serialize(report) << '\n';
  } else {
    print_report(*context.out, report);
  }
  return passed ? exit_good : exit_check_failed;
}

}  // namespace

void add_verify_command(CLI::App& app, Context& context) {
  auto* const verify = app.add_subcommand("verify", "Prove a running deployment by measuring it");
  const auto undisruptive = std::make_shared<bool>(false);
  verify->add_flag("--no-outage", *undisruptive, "With private servers: do not stop PostgreSQL");
  verify->callback([&context, undisruptive] { context.exit_code = run_verify(context, *undisruptive); });
}

}  // namespace citadel::cli
