// citadel status: what the daemon says of itself.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>

#include "cli/api_client.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

std::string text_of(const boost::json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : citadel::json::serialize(value);
}

void print_status(std::ostream& out, const boost::json::object& status) {
  const auto& readiness = status.at("readiness").as_object();
  out << fmt::format("Citadel {} is {}\n\n", text_of(status.at("version")), text_of(readiness.at("status")));
  Table table({{"dependency"}, {"ready"}, {"reason"}});
  for (const auto& item : readiness.at("dependencies").as_array()) {
    const auto& d = item.as_object();
    table.add({text_of(d.at("name")), d.at("ready").as_bool() ? "yes" : "NO", text_of(d.at("reason"))});
  }
  out << table.render() << '\n';
  for (const std::string_view part : {"journal", "drain"}) {
    out << part << '\n';
    for (const auto& [key, value] : status.at(part).as_object()) {
      out << fmt::format("  {:<24} {}\n", std::string_view(key), text_of(value));
    }
  }
  const auto& database = status.at("database").as_object();
  for (const std::string_view part : {"pool", "breaker"}) {
    out << part << '\n';
    for (const auto& [key, value] : database.at(part).as_object()) {
      out << fmt::format("  {:<24} {}\n", std::string_view(key), text_of(value));
    }
  }
}

// What the last verification of the log found is nobody's to miss.
void print_audit(std::ostream& out, const boost::json::object& audit) {
  out << "audit\n";
  for (const auto& [key, value] : audit) {
    if (!value.is_object()) out << fmt::format("  {:<24} {}\n", std::string_view(key), text_of(value));
  }
  if (const auto* const verified = audit.if_contains("verified"); verified && verified->is_object()) {
    for (const auto& [key, value] : verified->get_object())
      out << fmt::format("  {:<24} {}\n", fmt::format("verified.{}", std::string_view(key)), text_of(value));
  }
  const auto* const failed = audit.if_contains("verifications_failed_total");
  if (failed && failed->is_int64() && failed->get_int64() > 0)
    out << "A VERIFICATION OF THE AUDIT LOG FAILED since the daemon's start: `citadel audit verify` says "
           "what is wrong\n";
}

int run_status(const Context& context) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto status = client->get("/v1/status", Deadline::after(std::chrono::seconds(10)));
  if (!status) return context.report(status.error());
  if (context.json) {
    *context.out << citadel::json::serialize(*status) << '\n';
  } else {
    print_status(*context.out, status->as_object());
    if (const auto* const audit = status->as_object().if_contains("audit"); audit && audit->is_object())
      print_audit(*context.out, audit->get_object());
  }
  const bool ready = status->as_object().at("readiness").as_object().at("status") == "ready";
  return ready ? exit_good : exit_check_failed;
}

}  // namespace

void add_status_command(Command app, Context& context) {
  const auto status = app.add_subcommand("status", "Show the daemon's state; exit code 1 unless it is ready");
  status.callback([&context] { context.exit_code = run_status(context); });
}

}  // namespace citadel::cli
