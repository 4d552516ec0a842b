#include "audit/event_json.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "audit/catalogue.hpp"
#include "base/time_text.hpp"
#include "json/object_reader.hpp"
#include "json/serialize.hpp"

namespace citadel::audit {
namespace {

namespace bj = boost::json;
using json::ObjectReader;

// The array around the events and the event around its groups.
constexpr std::size_t levels_around_groups = 2;
constexpr std::string_view default_tenant = "default";

class EventReader {
 public:
  EventReader(const EventLimits& limits, WallTime now, Random& random)
      : limits_(limits),
        name_limits_{.bytes_min = 1, .bytes_max = limits.name_bytes_max},
        now_(now),
        random_(random) {}

  Result<void> read(const bj::value& value, std::string_view path, Event& event) {
    const bj::object* object = value.if_object();
    if (object == nullptr) {
      return fail(Code::invalid_argument, fmt::format("{}must be an object with the fields of an audit event",
                                                      path.empty() ? "" : fmt::format("{}: ", path)));
    }
    ObjectReader in(*object, path);
    event.received_at = now_;
    read_identity(in, event);
    event.tenant = in.optional_text("tenant", name_limits_).value_or(default_tenant);
    CITADEL_TRY(read_actor(in, path, event.actor));
    read_action(in, event);
    CITADEL_TRY(read_object(in, path, event.object));
    event.outcome = outcome(in);
    event.reason =
        in.optional_text("reason", {.bytes_min = 0, .bytes_max = limits_.reason_bytes_max}).value_or("");
    event.trace_id = trace_id(in);
    event.request_id = optional_name(in, "request_id");
    event.subject = optional_name(in, "subject");
    for (const Group group : sensitive_groups) {
      if (const bj::value* content = in.optional_value(to_string(group)))
        event.group(group) = json::serialize(*content);
    }
    CITADEL_TRY(in.finish());
    if (auto checked = check_event(event, limits_); !checked) {
      return fail(Code::invalid_argument, std::string(path) + checked.error().message);
    }
    return {};
  }

 private:
  // A repeat of an event with an id says the same, though it has no time.
  void read_identity(ObjectReader& in, Event& event) {
    std::optional<WallTime> time;
    if (const auto text = in.optional_text("time", {.bytes_min = 0, .bytes_max = 35})) {
      time = parse_time(*text);
      if (!time)
        in.refuse("time", "must be a time as RFC 3339 writes it, for example 2026-11-25T08:00:00.5Z");
    }
    event.time = time.value_or(now_);
    if (const auto text = in.optional_text("id", {.bytes_min = 36, .bytes_max = 36})) {
      const auto id = parse_uuid(*text);
      if (!id || !id->is_version7()) in.refuse("id", "must be a UUID of version 7 (RFC 9562)");
      event.id = id.value_or(Uuid{});
      if (time || !id) return;
      // A time that only the id gave is the id's fault.
      event.time = event.id.time();
      if (event.time < now_ - limits_.past_max || event.time > now_ + limits_.future_max)
        in.refuse("id", "its time must lie within the limits of an event's time");
    } else {
      event.id = new_uuid7(event.time, random_);
    }
  }

  std::string optional_name(ObjectReader& in, std::string_view name) {
    return std::string(in.optional_text(name, name_limits_).value_or(""));
  }

  // The members of a required object, read by `read` from a reader of its own.
  template <class Read>
  Result<void> read_member(ObjectReader& in, std::string_view path, std::string_view name, Read read) {
    const bj::value* value = in.optional_value(name);
    if (in.failed()) return {};
    if (value == nullptr || !value->is_object()) {
      in.refuse(name, value == nullptr ? "is missing" : "must be an object");
      return {};
    }
    ObjectReader member(value->get_object(), member_path_.assign(path).append("/").append(name));
    read(member);
    return member.finish();
  }

  Result<void> read_actor(ObjectReader& in, std::string_view path, Actor& actor) {
    return read_member(in, path, "actor", [&](ObjectReader& member) {
      actor.type = member.text("type", name_limits_);
      actor.id = member.text("id", name_limits_);
      actor.auth_method = optional_name(member, "auth_method");
      actor.address = optional_name(member, "address");
      actor.on_behalf_of = optional_name(member, "on_behalf_of");
    });
  }

  Result<void> read_object(ObjectReader& in, std::string_view path, Object& object) {
    return read_member(in, path, "object", [&](ObjectReader& member) {
      object.type = member.text("type", name_limits_);
      object.id = member.text("id", name_limits_);
    });
  }

  void read_action(ObjectReader& in, Event& event) {
    event.action = in.text("action", name_limits_);
    if (in.failed()) return;
    const auto action = find_action(event.action);
    if (!action) return in.refuse("action", fmt::format("\"{}\" {}", event.action, action.error().message));
    if (action->recorder == Recorder::daemon) in.refuse("action", "is recorded by the daemon alone");
  }

  Outcome outcome(ObjectReader& in) {
    const auto text = in.optional_text("outcome", name_limits_);
    if (!text) return Outcome::unknown;
    const auto outcome = parse_outcome(*text);
    if (!outcome) in.refuse("outcome", R"(must be "success", "failure", "denied" or "unknown")");
    return outcome.value_or(Outcome::unknown);
  }

  std::string trace_id(ObjectReader& in) {
    std::string text(in.optional_text("trace_id", {.bytes_min = 32, .bytes_max = 32}).value_or(""));
    for (char& c : text) {
      if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
  }

  const EventLimits& limits_;
  json::TextLimits name_limits_;
  WallTime now_;
  Random& random_;
  std::string member_path_;
};

void write_text(json::Writer& out, std::string_view name, std::string_view text) {
  if (!text.empty()) out.key(name).text(text);
}

}  // namespace

Result<std::vector<Event>> parse_events(std::string_view body, json::BodyForm form, const EventLimits& limits,
                                        WallTime now, Random& random) {
  EventReader reader(limits, now, random);
  std::vector<Event> events;
  const json::BodyLimits body_limits{.noun = "event",
                                     .values_max = limits.events_max,
                                     .body_bytes_max = limits.body_bytes_max,
                                     .line_bytes_max = limits.line_bytes_max,
                                     .depth_max = limits.depth_max + levels_around_groups};
  const auto on_value = [&](const bj::value& value, std::string_view path) -> Result<void> {
    return reader.read(value, path, events.emplace_back());
  };
  CITADEL_TRY(json::for_each_value(body, form, body_limits, on_value));
  return events;
}

void write_event_members(json::Writer& out, const Event& event) {
  out.key("id").text(event.id.to_string()).key("time").text(format_time(event.time));
  out.key("received_at").text(format_time(event.received_at)).key("tenant").text(event.tenant);
  out.key("actor").begin_object().key("type").text(event.actor.type).key("id").text(event.actor.id);
  write_text(out, "auth_method", event.actor.auth_method);
  write_text(out, "address", event.actor.address);
  write_text(out, "on_behalf_of", event.actor.on_behalf_of);
  out.end_object().key("action").text(event.action);
  out.key("object")
      .begin_object()
      .key("type")
      .text(event.object.type)
      .key("id")
      .text(event.object.id)
      .end_object();
  out.key("outcome").text(to_string(event.outcome));
  write_text(out, "reason", event.reason);
  write_text(out, "trace_id", event.trace_id);
  write_text(out, "request_id", event.request_id);
  write_text(out, "subject", event.subject);
  for (const Group group : sensitive_groups) {
    if (!event.group(group).empty()) out.key(to_string(group)).raw(event.group(group));
  }
}

void write_event(json::Writer& out, const Event& event) {
  out.begin_object();
  write_event_members(out, event);
  out.end_object();
}

}  // namespace citadel::audit
