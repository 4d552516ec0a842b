#include "audit/export_views.hpp"

#include <fmt/format.h>

#include <iterator>

#include "base/base64.hpp"
#include "base/time_text.hpp"

namespace citadel::audit {
namespace {

constexpr std::string_view csv_header =
    "index,id,time,class,retention,content,received_at,tenant,action,outcome,severity,actor_type,actor_id,"
    "auth_method,address,on_behalf_of,object_type,object_id,reason,trace_id,request_id,subject,prompt,"
    "response,tool,details";

// Whether a spreadsheet would run it.
bool is_formula(std::string_view text) {
  return !text.empty() && std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos;
}

void append_csv_field(std::string& out, std::string_view text) {
  out += ',';
  const bool quoted = is_formula(text) || text.find_first_of(",\"\r\n") != std::string_view::npos;
  if (!quoted) {
    out += text;
    return;
  }
  out += '"';
  if (is_formula(text)) out += '\'';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

int cef_severity(Severity severity) {
  switch (severity) {
    case Severity::info:
      return 1;
    case Severity::notice:
      return 4;
    case Severity::warning:
      return 7;
    case Severity::critical:
      return 10;
  }
  return 0;
}

int syslog_severity(Severity severity) {
  switch (severity) {
    case Severity::info:
      return 6;
    case Severity::notice:
      return 5;
    case Severity::warning:
      return 4;
    case Severity::critical:
      return 2;
  }
  return 6;
}

// A header field ends at a bar and a line at its end.
std::string cef_header(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '|') out += '\\';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out;
}

void append_cef_field(std::string& out, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  fmt::format_to(std::back_inserter(out), " {}=", key);
  for (const char c : value) {
    if (c == '\n' || c == '\r') {
      out += c == '\n' ? "\\n" : "\\r";
      continue;
    }
    if (c == '\\' || c == '=') out += '\\';
    out += c;
  }
}

void append_cef_labelled(std::string& out, std::string_view key, std::string_view label,
                         std::string_view value) {
  if (value.empty()) return;
  append_cef_field(out, fmt::format("{}Label", key), label);
  append_cef_field(out, key, value);
}

// CEF's src is an IPv4 address; an IPv6 address and a name have fields of their own.
void append_cef_address(std::string& out, std::string_view address) {
  if (address.find(':') != std::string_view::npos)
    return append_cef_labelled(out, "c6a2", "Source IPv6 Address", address);
  const bool is_ipv4 = !address.empty() && address.find_first_not_of("0123456789.") == std::string_view::npos;
  append_cef_field(out, is_ipv4 ? "src" : "shost", address);
}

// RFC 5424 §6.3.3.
void append_parameter(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  fmt::format_to(std::back_inserter(out), " {}=\"", name);
  for (const char c : value) {
    if (c == '"' || c == '\\' || c == ']') out += '\\';
    out += c;
  }
  out += '"';
}

// A field of the header: printable ASCII without blanks, bounded; "-" where there is none.
std::string header_field(std::string_view text, std::size_t bytes_max) {
  std::string out;
  for (const char c : text.substr(0, bytes_max)) out += c > 0x20 && c < 0x7F ? c : '?';
  return out.empty() ? "-" : out;
}

std::int64_t milliseconds(WallTime time) {
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

std::string_view action_of(const ViewedEntry& entry) {
  return entry.event == nullptr ? "erased" : std::string_view(entry.event->action);
}

}  // namespace

Severity severity_of(const ViewedEntry& entry) {
  if (entry.event == nullptr) return Severity::info;
  const auto action = find_action(entry.event->action);
  return action ? action->severity : Severity::info;
}

void append_csv_header(std::string& out, bool proofs) {
  out += csv_header;
  out += proofs ? ",proof\r\n" : "\r\n";
}

void append_csv(std::string& out, const ViewedEntry& entry) {
  const Leaf& leaf = entry.leaf;
  fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{}", entry.index, leaf.id.to_string(),
                 format_time(leaf.time), to_string(leaf.action_class), to_string(leaf.retention),
                 entry.event == nullptr ? "erased" : "present");
  static const Event nothing{};
  const Event& event = entry.event == nullptr ? nothing : *entry.event;
  append_csv_field(out, entry.event == nullptr ? "" : format_time(event.received_at));
  append_csv_field(out, event.tenant);
  append_csv_field(out, event.action);
  append_csv_field(out, entry.event == nullptr ? "" : to_string(event.outcome));
  append_csv_field(out, entry.event == nullptr ? "" : to_string(severity_of(entry)));
  for (const std::string* field :
       {&event.actor.type, &event.actor.id, &event.actor.auth_method, &event.actor.address,
        &event.actor.on_behalf_of, &event.object.type, &event.object.id, &event.reason, &event.trace_id,
        &event.request_id, &event.subject}) {
    append_csv_field(out, *field);
  }
  for (const std::string& group : event.groups) append_csv_field(out, group);
  if (!entry.proof.empty()) append_csv_field(out, entry.proof);
  out += "\r\n";
}

void append_cef(std::string& out, const ViewedEntry& entry, const ViewSource& source) {
  const std::string action = cef_header(action_of(entry));
  fmt::format_to(std::back_inserter(out), "CEF:0|Citadel|Citadel|{}|{}|{}|{}|", cef_header(source.version),
                 action, action, cef_severity(severity_of(entry)));
  std::string fields;
  append_cef_field(fields, "start", fmt::format("{}", milliseconds(entry.leaf.time)));
  append_cef_field(fields, "externalId", entry.leaf.id.to_string());
  append_cef_field(fields, "cat", to_string(entry.leaf.action_class));
  append_cef_labelled(fields, "cn1", "index", fmt::format("{}", entry.index));
  if (entry.event != nullptr) {
    const Event& event = *entry.event;
    append_cef_field(fields, "rt", fmt::format("{}", milliseconds(event.received_at)));
    append_cef_field(fields, "outcome", to_string(event.outcome));
    append_cef_field(fields, "reason", event.reason);
    append_cef_field(fields, "suser", event.actor.id);
    append_cef_field(fields, "spriv", event.actor.type);
    append_cef_address(fields, event.actor.address);
    append_cef_field(fields, "authenticationMethod", event.actor.auth_method);
    append_cef_labelled(fields, "cs1", "tenant", event.tenant);
    append_cef_labelled(fields, "cs2", "objectType", event.object.type);
    append_cef_labelled(fields, "cs3", "objectId", event.object.id);
    append_cef_labelled(fields, "cs4", "traceId", event.trace_id);
    append_cef_labelled(fields, "cs5", "requestId", event.request_id);
    append_cef_labelled(fields, "cs6", "onBehalfOf", event.actor.on_behalf_of);
  }
  append_cef_field(fields, "CitadelProof", entry.proof);
  out.append(fields, 1).append("\n");  // without the first blank
}

void append_syslog(std::string& out, const ViewedEntry& entry, const ViewSource& source) {
  constexpr int facility = 13;
  constexpr std::size_t host_bytes_max = 255, message_id_bytes_max = 32;
  constexpr std::string_view utf8_mark = "\xEF\xBB\xBF";
  fmt::format_to(std::back_inserter(out), "<{}>1 {} {} citadel - {} [citadel@32473",
                 facility * 8 + syslog_severity(severity_of(entry)), format_time(entry.leaf.time),
                 header_field(source.host, host_bytes_max),
                 header_field(action_of(entry), message_id_bytes_max));
  append_parameter(out, "index", fmt::format("{}", entry.index));
  append_parameter(out, "id", entry.leaf.id.to_string());
  append_parameter(out, "class", to_string(entry.leaf.action_class));
  append_parameter(out, "proof", to_base64(as_bytes(entry.proof)));
  if (entry.event == nullptr) {
    out += fmt::format("] {}entry {}: its content was erased", utf8_mark, entry.index);
    return;
  }
  const Event& event = *entry.event;
  append_parameter(out, "received_at", format_time(event.received_at));
  append_parameter(out, "tenant", event.tenant);
  append_parameter(out, "action", event.action);
  append_parameter(out, "outcome", to_string(event.outcome));
  append_parameter(out, "actor_type", event.actor.type);
  append_parameter(out, "actor_id", event.actor.id);
  append_parameter(out, "auth_method", event.actor.auth_method);
  append_parameter(out, "address", event.actor.address);
  append_parameter(out, "on_behalf_of", event.actor.on_behalf_of);
  append_parameter(out, "object_type", event.object.type);
  append_parameter(out, "object_id", event.object.id);
  append_parameter(out, "reason", event.reason);
  append_parameter(out, "trace_id", event.trace_id);
  append_parameter(out, "request_id", event.request_id);
  append_parameter(out, "subject", event.subject);
  out += fmt::format("] {}{} {} by {} {} on {} {}", utf8_mark, event.action, to_string(event.outcome),
                     event.actor.type, event.actor.id, event.object.type, event.object.id);
}

std::string frame_syslog(std::string_view message) {
  return fmt::format("{} {}", message.size(), message);
}

}  // namespace citadel::audit
