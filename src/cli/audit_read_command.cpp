// citadel audit get, search, trace, tail: the trail read. The daemon records who reads it.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iostream>
#include <limits>
#include <memory>
#include <tuple>

#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/table.hpp"
#include "http/sse.hpp"
#include "json/parse.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto call_time = std::chrono::seconds(60);
// The daemon sends something every 15 s.
constexpr auto tail_patience = std::chrono::seconds(60);

// Name of the parameter, its value, and whether it was given.
using Parameters = std::vector<std::pair<std::string, std::shared_ptr<std::string>>>;

std::string target_of(std::string path, const Parameters& parameters) {
  char mark = '?';
  for (const auto& [name, value] : parameters) {
    if (value->empty()) continue;
    path += fmt::format("{}{}={}", std::exchange(mark, '&'), name, percent_encode(*value));
  }
  return path;
}

std::string pair_at(const json::value& event, std::string_view what) {
  return fmt::format("{}:{}", text_at(event, fmt::format("/{}/type", what)),
                     text_at(event, fmt::format("/{}/id", what)));
}

Table event_table() {
  return Table(
      {{"index", Align::right}, {"time"}, {"action"}, {"actor"}, {"object"}, {"outcome"}, {"reason"}});
}

std::vector<std::string> row_of(const json::value& entry) {
  boost::system::error_code missing;
  const auto* const event = entry.find_pointer("/event", missing);
  if (event == nullptr) {
    return {text_at(entry, "/index"), text_at(entry, "/time"), "(erased or pruned)", "", "", "", ""};
  }
  return {text_at(entry, "/index"),  text_at(*event, "/time"),  text_at(*event, "/action"),
          pair_at(*event, "actor"),  pair_at(*event, "object"), text_at(*event, "/outcome"),
          text_at(*event, "/reason")};
}

bool is_index(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

int run_get(const Context& context, const std::string& which, bool open) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto path = fmt::format("/v1/audit/{}/{}{}", is_index(which) ? "entries" : "events",
                                percent_encode(which), open ? "?open=groups" : "");
  const auto entry = client->get(path, Deadline::after(call_time));
  if (!entry) return context.report(entry.error());
  if (context.json) {
    *context.out << citadel::json::serialize(*entry) << '\n';
    return exit_good;
  }
  for (const auto& [name, value] : entry->as_object()) {
    if (name == "event") continue;
    *context.out << fmt::format(
        "{:<12} {}\n", std::string_view(name),
        value.is_string() ? std::string(value.get_string()) : citadel::json::serialize(value));
  }
  if (const auto* event = entry->as_object().if_contains("event")) {
    for (const auto& [name, value] : event->as_object()) {
      *context.out << fmt::format(
          "  {:<12} {}\n", std::string_view(name),
          value.is_string() ? std::string(value.get_string()) : citadel::json::serialize(value));
    }
  }
  return exit_good;
}

// Page after page, until `count_max` events are shown or there are no more.
int run_pages(const Context& context, const std::string& path, Parameters parameters, std::size_t count_max) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto cursor = std::make_shared<std::string>();
  const auto limit = std::make_shared<std::string>();
  parameters.emplace_back("cursor", cursor);
  parameters.emplace_back("limit", limit);
  json::array found;
  Table table = event_table();
  std::size_t count = 0;
  while (count < count_max) {
    *limit = std::to_string(std::min<std::size_t>(count_max - count, 100));
    const auto page = client->get(target_of(path, parameters), Deadline::after(call_time));
    if (!page) return context.report(page.error());
    for (const auto& event : page->as_object().at("events").as_array()) {
      ++count;
      if (context.json) {
        found.push_back(event);
      } else {
        table.add(row_of(event));
      }
    }
    *cursor = text_at(*page, "/next_cursor");
    if (cursor->empty()) break;
  }
  if (context.json) {
    *context.out << citadel::json::serialize(
                        json::object{{"events", std::move(found)},
                                     {"next_cursor", cursor->empty() ? json::value() : json::value(*cursor)}})
                 << '\n';
  } else {
    *context.out << table.render();
    if (!cursor->empty())
      *context.out << fmt::format("there are more; the first {} are shown (--limit)\n", count);
  }
  return exit_good;
}

void print_entry(const Context& context, const std::string& data) {
  if (context.json) {
    *context.out << data << std::endl;
    return;
  }
  const auto entry = citadel::json::parse(data, {.depth_max = 64, .size_bytes_max = 1 << 20});
  if (!entry) return;
  const auto cells = row_of(*entry);
  Table line({{""}, {""}, {""}, {""}, {""}, {""}, {""}});
  line.add(cells);
  const auto text = line.render();
  // Without the headings and the rule.
  *context.out << text.substr(text.find('\n', text.find('\n') + 1) + 1) << std::flush;
}

// Until it is interrupted, or `count_max` entries are shown; a stream that ends is taken up where it ended.
int run_tail(const Context& context, const Parameters& parameters, std::size_t count_max) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  std::size_t shown = 0;
  std::string last_id;
  for (;;) {
    http::EventParser parser;
    std::vector<http::Parameter> headers{{"Accept", "text/event-stream"}};
    if (!last_id.empty()) headers.push_back({"Last-Event-ID", last_id});
    const auto done = client->stream(
        target_of("/v1/audit/events/tail", parameters), Deadline::after(call_time), tail_patience,
        [&](std::string_view piece) -> Result<void> {
          http::Events events;
          CITADEL_TRY(parser.feed(piece, events));
          for (const auto& event : events) {
            print_entry(context, event.data);
            if (++shown >= count_max) return fail(Code::cancelled, "enough");
          }
          return {};
        },
        std::move(headers));
    if (!parser.last_id().empty()) last_id = parser.last_id();
    if (!done && done.error().code == Code::cancelled) return exit_good;
    if (!done) return context.report(done.error());
  }
}

std::shared_ptr<std::string> add_parameter(Command command, Parameters& parameters, const std::string& name,
                                           const std::string& option, const std::string& help) {
  auto value = std::make_shared<std::string>();
  command.add_option(option, *value, help);
  parameters.emplace_back(name, value);
  return value;
}

void add_search(Command audit, Context& context) {
  const auto search = audit.add_subcommand("search", "Find events, the newest first");
  const auto parameters = std::make_shared<Parameters>();
  for (const auto& [name, option, help] :
       {std::tuple{"from", "--from", "The first moment: a day (its midnight UTC) or an RFC 3339 time"},
        {"to", "--to", "The first moment that is outside: a day or an RFC 3339 time"},
        {"tenant", "--tenant", "Only this tenant"},
        {"actor_type", "--actor-type", "user, service, key, …"},
        {"actor", "--actor", "Who did it"},
        {"action", "--action", "What was done"},
        {"object_type", "--object-type", "The kind of thing"},
        {"object", "--object", "The thing"},
        {"subject", "--subject", "Whose data it holds"},
        {"outcome", "--outcome", "success, failure, denied or unknown"},
        {"trace_id", "--trace", "W3C trace id"},
        {"request_id", "--request", "Request id"},
        {"text", "--text", "Words in action, actor, object and reason"}}) {
    add_parameter(search, *parameters, name, option, help);
  }
  const auto limit = std::make_shared<std::size_t>(100);
  search.add_option("--limit", *limit, "At most this many").show_default();
  search.callback([&context, parameters, limit] {
    context.exit_code = run_pages(context, "/v1/audit/events", *parameters, *limit);
  });
}

}  // namespace

void add_audit_read(Command audit, Context& context) {
  const auto get = audit.add_subcommand("get", "Show one entry");
  const auto which = std::make_shared<std::string>();
  const auto open = std::make_shared<bool>(false);
  get.add_option("ID", *which, "The event's id, or the entry's index").required();
  get.add_flag("--open", *open, "Decrypt prompt, response, tool and details");
  get.callback([&context, which, open] { context.exit_code = run_get(context, *which, *open); });

  add_search(audit, context);

  const auto trace = audit.add_subcommand("trace", "Show everything under one trace id, in order");
  const auto id = std::make_shared<std::string>();
  trace.add_option("TRACE", *id, "W3C trace id").required();
  trace.callback([&context, id] {
    context.exit_code = run_pages(context, "/v1/audit/traces/" + percent_encode(*id), {}, 10'000);
  });

  const auto tail = audit.add_subcommand("tail", "Show entries as they come");
  const auto parameters = std::make_shared<Parameters>();
  add_parameter(tail, *parameters, "from", "--from", "Begin at this index; default: with what comes next");
  add_parameter(tail, *parameters, "tenant", "--tenant", "Only this tenant");
  add_parameter(tail, *parameters, "actor", "--actor", "Only this actor");
  add_parameter(tail, *parameters, "action", "--action", "Only this action");
  add_parameter(tail, *parameters, "outcome", "--outcome", "Only this outcome");
  const auto count = std::make_shared<std::size_t>(std::numeric_limits<std::size_t>::max());
  tail.add_option("--count", *count, "End after this many");
  tail.callback(
      [&context, parameters, count] { context.exit_code = run_tail(context, *parameters, *count); });
}

}  // namespace citadel::cli
