// citadel audit append: one event from options, or events from a file or standard input.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <iterator>
#include <memory>

#include "base/file.hpp"
#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/table.hpp"
#include "json/parse.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t body_bytes_max = 64 << 20;

struct AppendOptions {
  std::string file, ack = "database";
  std::string actor, action, object, outcome, reason, tenant, subject, trace_id, request_id, time, id, key;
  std::string prompt, response, tool, details;
};

// "type:id"
Result<json::object> typed(std::string_view option, const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
    return fail(Code::invalid_argument,
                fmt::format("{}: '{}' is not TYPE:ID, for example user:ada", option, text));
  }
  return json::object{{"type", text.substr(0, colon)}, {"id", text.substr(colon + 1)}};
}

Result<std::string> event_of(const AppendOptions& options) {
  if (options.action.empty() || options.actor.empty() || options.object.empty()) {
    return fail(Code::invalid_argument,
                "an event needs --action, --actor TYPE:ID and --object TYPE:ID, or --file");
  }
  json::object event{{"action", options.action}};
  CITADEL_ASSIGN(event["actor"], typed("--actor", options.actor));
  CITADEL_ASSIGN(event["object"], typed("--object", options.object));
  const std::pair<std::string_view, const std::string*> texts[] = {
      {"outcome", &options.outcome}, {"reason", &options.reason},        {"tenant", &options.tenant},
      {"subject", &options.subject}, {"trace_id", &options.trace_id},    {"time", &options.time},
      {"id", &options.id},           {"request_id", &options.request_id}};
  for (const auto& [name, text] : texts) {
    if (!text->empty()) event[name] = *text;
  }
  const std::pair<std::string_view, const std::string*> groups[] = {{"prompt", &options.prompt},
                                                                    {"response", &options.response},
                                                                    {"tool", &options.tool},
                                                                    {"details", &options.details}};
  for (const auto& [name, text] : groups) {
    if (text->empty()) continue;
    // JSON where it is some, else a text.
    const auto value = citadel::json::parse(*text, {});
    event[name] = value ? *value : json::value(*text);
  }
  return citadel::json::serialize(event);
}

Result<std::string> body_of(const AppendOptions& options) {
  if (options.file.empty()) return event_of(options);
  if (options.file != "-") return read_named_file("--file", options.file, body_bytes_max);
  std::cin.unsetf(std::ios::skipws);
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

// One JSON value, or one a line.
bool is_one_value(const std::string& body) {
  return citadel::json::parse(body, {.depth_max = 64, .size_bytes_max = body_bytes_max}).has_value();
}

void print_answer(std::ostream& out, const json::value& answer) {
  const auto& fields = answer.as_object();
  if (const auto* events = fields.if_contains("events")) {
    Table table({{"index", Align::right}, {"id"}});
    for (const auto& event : events->as_array()) table.add({text_at(event, "/index"), text_at(event, "/id")});
    out << table.render();
  } else if (const auto* ids = fields.if_contains("ids")) {
    for (const auto& id : ids->as_array()) out << std::string_view(id.as_string()) << '\n';
  }
  out << fmt::format("{} recorded, acknowledged by the {}\n", text_at(answer, "/accepted"),
                     text_at(answer, "/ack"));
  if (const auto note = text_at(answer, "/note"); !note.empty()) out << note << '\n';
}

int run_append(const Context& context, const AppendOptions& options) {
  const auto body = body_of(options);
  if (!body) return context.report(body.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  std::vector<http::Parameter> headers{
      {"Content-Type", is_one_value(*body) ? "application/json" : "application/x-ndjson"}};
  if (!options.key.empty()) headers.push_back({"Idempotency-Key", options.key});
  const auto answer = client->post("/v1/audit/events?ack=" + percent_encode(options.ack), *body,
                                   Deadline::after(std::chrono::seconds(60)), std::move(headers));
  if (!answer) return context.report(answer.error());
  if (context.json) {
    *context.out << citadel::json::serialize(*answer) << '\n';
  } else {
    print_answer(*context.out, *answer);
  }
  return exit_good;
}

}  // namespace

void add_audit_append(Command audit, Context& context) {
  const auto append = audit.add_subcommand("append", "Record events");
  const auto options = std::make_shared<AppendOptions>();
  append.add_option("--file,-f", options->file, "Events as JSON or a line each; - is standard input");
  append.add_option("--ack", options->ack, "journal, database or checkpoint").show_default();
  append.add_option("--action", options->action, "What was done: model_version.promote, x.your_own");
  append.add_option("--actor", options->actor, "Who did it, TYPE:ID");
  append.add_option("--object", options->object, "To which thing, TYPE:ID");
  append.add_option("--outcome", options->outcome, "success, failure, denied or unknown");
  append.add_option("--reason", options->reason, "Why");
  append.add_option("--tenant", options->tenant, "The tenant; default");
  append.add_option("--subject", options->subject, "Whose data prompt, response, tool and details hold");
  append.add_option("--trace", options->trace_id, "W3C trace id");
  append.add_option("--request", options->request_id, "Request id");
  append.add_option("--time", options->time, "When it happened, RFC 3339; now");
  append.add_option("--id", options->id, "A UUID of version 7: sent again, it is stored once");
  append.add_option("--idempotency-key", options->key, "The same, made of any text");
  append.add_option("--prompt", options->prompt, "JSON, or a text; encrypted");
  append.add_option("--response", options->response, "The same");
  append.add_option("--tool", options->tool, "The same");
  append.add_option("--details", options->details, "The same");
  append.callback([&context, options] { context.exit_code = run_append(context, *options); });
}

}  // namespace citadel::cli
