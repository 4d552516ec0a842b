// citadel audit hold, retention, rotate-key: what becomes of the trail's content, and of its keys.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/table.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto act_time = std::chrono::seconds(60);
constexpr auto long_time = std::chrono::minutes(10);

int print_json(const Context& context, const json::value& value) {
  *context.out << citadel::json::serialize(value) << '\n';
  return exit_good;
}

// ---- holds

struct HoldOptions {
  std::string subject, tenant, object, from, to, reason, id;
  bool all = false;
};

Result<json::object> hold_body(const HoldOptions& options) {
  json::object body{{"reason", options.reason}};
  for (const auto& [name, value] : {std::pair{"subject", &options.subject},
                                    {"tenant", &options.tenant},
                                    {"from", &options.from},
                                    {"to", &options.to}}) {
    if (!value->empty()) body[name] = *value;
  }
  if (!options.object.empty()) {
    const auto colon = options.object.find(':');
    if (colon == std::string::npos)
      return fail(Code::invalid_argument, "--object: give TYPE:ID, like model_version:fraud/7");
    body["object"] =
        json::object{{"type", options.object.substr(0, colon)}, {"id", options.object.substr(colon + 1)}};
  }
  return body;
}

int run_hold_add(const Context& context, const HoldOptions& options) {
  const auto body = hold_body(options);
  if (!body) return context.report(body.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto hold =
      client->post("/v1/audit/holds", citadel::json::serialize(*body), Deadline::after(act_time));
  if (!hold) return context.report(hold.error());
  if (context.json) return print_json(context, *hold);
  *context.out << text_at(*hold, "/id") << '\n';
  return exit_good;
}

std::string scope_text(const json::value& hold) {
  std::string out;
  for (const std::string_view name : {"subject", "tenant", "from", "to"}) {
    const auto value = text_at(hold, fmt::format("/{}", name));
    if (!value.empty()) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, value);
  }
  const auto object = text_at(hold, "/object/id");
  if (!object.empty())
    out += fmt::format("{}object {}:{}", out.empty() ? "" : ", ", text_at(hold, "/object/type"), object);
  return out;
}

int run_hold_list(const Context& context, const HoldOptions& options) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto answer =
      client->get(options.all ? "/v1/audit/holds?all=true" : "/v1/audit/holds", Deadline::after(act_time));
  if (!answer) return context.report(answer.error());
  if (context.json) return print_json(context, *answer);
  Table table({{"id"}, {"holds"}, {"placed"}, {"by"}, {"reason"}, {"released"}});
  for (const auto& hold : answer->at("holds").as_array()) {
    table.add({text_at(hold, "/id"), scope_text(hold), text_at(hold, "/placed_at"),
               text_at(hold, "/placed_by"), text_at(hold, "/reason"), text_at(hold, "/released_at")});
  }
  *context.out << (table.empty() ? std::string("no holds\n") : table.render());
  return exit_good;
}

int run_hold_release(const Context& context, const HoldOptions& options) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto hold = client->post(fmt::format("/v1/audit/holds/{}/release", percent_encode(options.id)),
                                 citadel::json::serialize(json::object{{"reason", options.reason}}),
                                 Deadline::after(act_time));
  if (!hold) return context.report(hold.error());
  if (context.json) return print_json(context, *hold);
  *context.out << fmt::format("released: {}\n", scope_text(*hold));
  return exit_good;
}

void add_hold(Command audit, Context& context) {
  const auto hold = audit.add_subcommand("hold", "Legal holds: what they name is neither erased nor dropped");
  hold.require_subcommand();
  hold.fallthrough();
  const auto options = std::make_shared<HoldOptions>();
  const auto add = hold.add_subcommand("add", "Place a hold; several options must all be true of an event");
  add.add_option("--subject", options->subject, "Events of this subject");
  add.add_option("--tenant", options->tenant, "Events of this tenant");
  add.add_option("--object", options->object, "Events of this object: TYPE:ID");
  add.add_option("--from", options->from,
                 "Events of this moment on: a day (its midnight UTC) or an RFC 3339 time");
  add.add_option("--to", options->to, "Events before this moment: a day or an RFC 3339 time");
  add.add_option("--reason", options->reason, "Why: it stands in the log").required();
  add.callback([&context, options] { context.exit_code = run_hold_add(context, *options); });
  const auto list = hold.add_subcommand("list", "The holds that last");
  list.add_flag("--all", options->all, "Those that were released, too");
  list.callback([&context, options] { context.exit_code = run_hold_list(context, *options); });
  const auto release = hold.add_subcommand("release", "End a hold");
  release.add_option("ID", options->id, "As `hold list` shows it").required();
  release.add_option("--reason", options->reason, "Why: it stands in the log").required();
  release.callback([&context, options] { context.exit_code = run_hold_release(context, *options); });
}

// ---- retention

int run_plan(const Context& context) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto answer = client->get("/v1/audit/retention", Deadline::after(act_time));
  if (!answer) return context.report(answer.error());
  if (context.json) return print_json(context, *answer);
  Table table({{"contents of"}, {"due"}, {"now"}, {"events, about", Align::right}, {"bytes", Align::right}});
  for (const auto& month : answer->at("months").as_array()) {
    const auto hold = text_at(month, "/held_by");
    const bool due = month.at("due").as_bool();
    table.add({text_at(month, "/month"), text_at(month, "/due_at"),
               hold.empty() ? (due ? "would be dropped" : "kept") : fmt::format("held by {}", hold),
               format_count(month.at("events_estimate").to_number<std::int64_t>()),
               format_count(month.at("size_bytes").to_number<std::int64_t>())});
  }
  for (const auto& some : answer->at("leftovers").as_array()) {
    const auto hold = text_at(some, "/held_by");
    const bool due = some.at("due").as_bool();
    table.add({fmt::format("{} {}", text_at(some, "/in"), text_at(some, "/month")), text_at(some, "/due_at"),
               !due           ? "kept"
               : hold.empty() ? "would be dropped"
                              : fmt::format("held by {}", hold),
               format_count(some.at("rows").to_number<std::int64_t>()), ""});
  }
  *context.out << table.render();
  return exit_good;
}

int run_retention(const Context& context) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto answer = client->post("/v1/audit/retention", "", Deadline::after(long_time));
  if (!answer) return context.report(answer.error());
  const auto& failed = answer->at("failed").as_array();
  const int exit_code = failed.empty() ? exit_good : exit_check_failed;
  if (context.json) {
    print_json(context, *answer);
    return exit_code;
  }
  const auto& dropped = answer->at("dropped").as_array();
  for (const auto& month : dropped) {
    *context.out << fmt::format("dropped {}: {} events\n", text_at(month, "/month"),
                                format_count(month.at("events").to_number<std::int64_t>()));
  }
  for (const auto& month : answer->at("held").as_array()) {
    *context.out << fmt::format("kept {}: hold {}\n", text_at(month, "/month"), text_at(month, "/held_by"));
  }
  bool leftovers_dropped = false;
  for (const auto& some : answer->at("leftovers").as_array()) {
    const auto hold = text_at(some, "/held_by");
    leftovers_dropped = leftovers_dropped || hold.empty();
    *context.out << (hold.empty() ? fmt::format("dropped {}: {} rows\n", text_at(some, "/of"),
                                                format_count(some.at("rows").to_number<std::int64_t>()))
                                  : fmt::format("kept {}: hold {}\n", text_at(some, "/of"), hold));
  }
  if (dropped.empty() && !leftovers_dropped) *context.out << "nothing was dropped\n";
  for (const auto& month : failed)
    *context.err << fmt::format("{} failed: {}\n", text_at(month, "/month"), text_at(month, "/detail"));
  return exit_code;
}

// ---- keys

int run_rotate(const Context& context) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto answer = client->post("/v1/audit/rotate-key", "", Deadline::after(long_time));
  if (!answer) return context.report(answer.error());
  if (context.json) return print_json(context, *answer);
  *context.out << fmt::format("{} keys were wrapped anew; all {} are under master key {}\n",
                              text_at(*answer, "/rewrapped"), text_at(*answer, "/keys"),
                              text_at(*answer, "/master_key"));
  *context.out << fmt::format(
      "so were those of {} conflicting events and {} dead letters; {} could not be opened\n",
      text_at(*answer, "/conflicts"), text_at(*answer, "/dead_letters"), text_at(*answer, "/unopened"));
  *context.out << (answer->at("journal_waits").as_bool()
                       ? "keep the older lines of the master key's file: events that they may have encrypted "
                         "still wait in "
                         "the journal; ask again later\n"
                       : "the older lines of the master key's file may go, once every daemon says so\n");
  return exit_good;
}

}  // namespace

void add_audit_lifecycle(Command audit, Context& context) {
  add_hold(audit, context);
  const auto retention =
      audit.add_subcommand("retention", "Drop the contents that are due, as the daemon does by itself");
  const auto dry = std::make_shared<bool>(false);
  retention.add_flag("--dry-run", *dry, "Only show what would be dropped, and when");
  retention.callback(
      [&context, dry] { context.exit_code = *dry ? run_plan(context) : run_retention(context); });
  const auto rotate = audit.add_subcommand(
      "rotate-key", "Wrap all subjects' keys by the newest master key, so that the older ones can go");
  rotate.callback([&context] { context.exit_code = run_rotate(context); });
}

}  // namespace citadel::cli
