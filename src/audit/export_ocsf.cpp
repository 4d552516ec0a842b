#include "audit/export_views.hpp"
#include "json/writer.hpp"

namespace citadel::audit {
namespace {

constexpr std::string_view ocsf_version = "1.3.0";

struct OcsfClass {
  int uid;
  std::string_view name;
};
constexpr OcsfClass authentication{3002, "Authentication"};
constexpr OcsfClass entity_management{3004, "Entity Management"};
constexpr OcsfClass application_lifecycle{6002, "Application Lifecycle"};
constexpr OcsfClass api_activity{6003, "API Activity"};
constexpr OcsfClass datastore_activity{6005, "Datastore Activity"};
constexpr int activity_unknown = 0, activity_other = 99;

struct OcsfType {
  OcsfClass of = api_activity;
  int activity = activity_other;
};

// What the last word of an action does, where API Activity and Entity Management count alike.
int activity_of(std::string_view verb) {
  for (const std::string_view word : {"create", "approve", "grant", "hold_placed"}) {
    if (verb == word) return 1;
  }
  for (const std::string_view word :
       {"read", "searched", "exported", "reported", "tailed", "verified", "proved"}) {
    if (verb == word) return 2;
  }
  for (const std::string_view word :
       {"update", "change", "rotate", "promote", "suspend", "retire", "override", "key_rotated"}) {
    if (verb == word) return 3;
  }
  for (const std::string_view word : {"delete", "revoke", "erasure", "hold_released", "retention_run"}) {
    if (verb == word) return 4;
  }
  return activity_other;
}

int datastore_activity_of(std::string_view verb) {
  if (verb == "update") return 2;
  if (verb == "insert") return 5;
  return 7;  // delete, truncate
}

OcsfType type_of(const ViewedEntry& entry) {
  if (entry.event == nullptr) return {api_activity, activity_unknown};
  const std::string_view action = entry.event->action;
  const std::string_view noun = action.substr(0, action.find('.'));
  const std::string_view verb = action.substr(action.rfind('.') + 1);
  if (noun == "auth") return {authentication, 1};
  if (noun == "database") return {datastore_activity, datastore_activity_of(verb)};
  if (action == "service.start" || action == "audit.started") return {application_lifecycle, 3};
  if (action == "service.stop" || action == "audit.stopped") return {application_lifecycle, 4};
  const bool is_entity = noun == "key" || noun == "role" || noun == "user" || noun == "tenant";
  if (is_entity && verb != "denied") return {entity_management, activity_of(verb)};
  return {api_activity, activity_of(verb)};
}

int ocsf_severity(Severity severity) {
  switch (severity) {
    case Severity::info:
      return 1;
    case Severity::notice:
      return 2;
    case Severity::warning:
      return 3;
    case Severity::critical:
      return 5;
  }
  return 0;
}

int ocsf_status(Outcome outcome) {
  switch (outcome) {
    case Outcome::success:
      return 1;
    case Outcome::failure:
    case Outcome::denied:
      return 2;
    case Outcome::unknown:
      return 0;
  }
  return 0;
}

std::int64_t milliseconds(WallTime time) {
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

void write_text(json::Writer& out, std::string_view name, std::string_view text) {
  if (!text.empty()) out.key(name).text(text);
}

void write_metadata(json::Writer& out, const ViewedEntry& entry, const ViewSource& source) {
  out.key("metadata").begin_object().key("version").text(ocsf_version);
  out.key("product").begin_object().key("name").text("Citadel").key("vendor_name").text("Citadel");
  write_text(out, "version", source.version);
  out.end_object().key("uid").text(entry.leaf.id.to_string());
  out.key("sequence").integer(static_cast<std::int64_t>(entry.index));
  if (entry.event != nullptr) {
    out.key("event_code").text(entry.event->action);
    out.key("logged_time").integer(milliseconds(entry.event->received_at));
    out.key("tenant_uid").text(entry.event->tenant);
    write_text(out, "correlation_uid", entry.event->trace_id);
  }
  out.end_object();
}

void write_user(json::Writer& out, std::string_view key, const Actor& actor) {
  const bool is_user = actor.type == "user", is_system = actor.type == "system" || actor.type == "service";
  out.key(key).begin_object().key("uid").text(actor.id).key("name").text(actor.id);
  out.key("type")
      .text(actor.type)
      .key("type_id")
      .integer(is_user     ? 1
               : is_system ? 3
                           : activity_other)
      .end_object();
}

void write_endpoint(json::Writer& out, const std::string& address) {
  const bool is_address = address.find_first_not_of("0123456789abcdefABCDEF.:") == std::string::npos;
  out.key("src_endpoint").begin_object();
  out.key(is_address && !address.empty() ? "ip" : "name").text(address.empty() ? "unknown" : address);
  out.end_object();
}

void write_object(json::Writer& out, std::string_view key, const Object& object) {
  out.key(key).begin_object().key("uid").text(object.id).key("name").text(object.id).key("type").text(
      object.type);
  out.end_object();
}

// What the class requires beside the rest.
void write_class(json::Writer& out, const OcsfClass& of, const Event& event) {
  out.key("actor").begin_object();
  write_user(out, "user", event.actor);
  out.end_object();
  write_endpoint(out, event.actor.address);
  if (of.uid == authentication.uid) {
    write_user(out, "user", event.actor);
    write_text(out, "auth_protocol", event.actor.auth_method);
  } else if (of.uid == entity_management.uid) {
    write_object(out, "entity", event.object);
  } else if (of.uid == application_lifecycle.uid) {
    out.key("app").begin_object().key("name").text("Citadel").key("vendor_name").text("Citadel").end_object();
  } else if (of.uid == datastore_activity.uid) {
    write_object(out, "table", event.object);
  } else {
    out.key("api").begin_object().key("operation").text(event.action);
    if (!event.request_id.empty()) {
      out.key("request").begin_object().key("uid").text(event.request_id).end_object();
    }
    out.end_object().key("resources").begin_array().begin_object();
    out.key("uid")
        .text(event.object.id)
        .key("name")
        .text(event.object.id)
        .key("type")
        .text(event.object.type);
    out.end_object().end_array();
  }
}

void write_unmapped(json::Writer& out, const ViewedEntry& entry) {
  out.key("unmapped").begin_object().key("class").text(to_string(entry.leaf.action_class));
  out.key("content").text(entry.event == nullptr ? "erased" : "present");
  write_text(out, "proof", entry.proof);
  if (entry.event != nullptr) {
    const Event& event = *entry.event;
    write_text(out, "on_behalf_of", event.actor.on_behalf_of);
    write_text(out, "auth_method", event.actor.auth_method);
    write_text(out, "object_type", event.object.type);
    write_text(out, "object_id", event.object.id);
    write_text(out, "request_id", event.request_id);
    write_text(out, "subject", event.subject);
    for (const Group group : sensitive_groups) {
      if (!event.group(group).empty()) out.key(to_string(group)).raw(event.group(group));
    }
  }
  out.end_object();
}

}  // namespace

void append_ocsf(std::string& out, const ViewedEntry& entry, const ViewSource& source) {
  const auto [of, activity] = type_of(entry);
  json::Writer line;
  line.begin_object().key("class_uid").integer(of.uid).key("class_name").text(of.name);
  line.key("category_uid").integer(of.uid / 1000).key("activity_id").integer(activity);
  line.key("type_uid").integer(of.uid * 100 + activity).key("time").integer(milliseconds(entry.leaf.time));
  line.key("severity_id").integer(ocsf_severity(severity_of(entry)));
  write_metadata(line, entry, source);
  if (entry.event != nullptr) {
    line.key("status_id")
        .integer(ocsf_status(entry.event->outcome))
        .key("status")
        .text(to_string(entry.event->outcome));
    write_text(line, "status_detail", entry.event->reason);
    write_class(line, of, *entry.event);
  }
  write_unmapped(line, entry);
  out += line.end_object().take();
  out += '\n';
}

}  // namespace citadel::audit
