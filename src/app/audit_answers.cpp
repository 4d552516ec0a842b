#include "app/audit_answers.hpp"

#include "audit/event_json.hpp"
#include "base/base64.hpp"
#include "base/time_text.hpp"

namespace citadel::app {
namespace {

std::int64_t number(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

void write_groups(citadel::json::Writer& out, const audit::EntryView& entry) {
  out.key("groups").begin_array();
  for (const auto& group : entry.groups) {
    const std::string_view state = group.opened ? "open" : group.erased ? "erased" : "sealed";
    out.begin_object().key("group").text(to_string(group.group)).key("state").text(state);
    if (group.opened) out.key("salt").text(to_base64(group.opened->salt));
    out.end_object();
  }
  out.end_array();
}

}  // namespace

void write_entry(citadel::json::Writer& out, const audit::EntryView& entry) {
  const auto& leaf = entry.leaf;
  out.begin_object().key("index").integer(number(entry.index)).key("id").text(leaf.id.to_string());
  out.key("producer").text(leaf.producer.to_string()).key("epoch").integer(number(leaf.epoch));
  out.key("sequence").integer(number(leaf.sequence)).key("class").text(to_string(leaf.action_class));
  out.key("retention").text(to_string(leaf.retention)).key("time").text(format_time(leaf.time));
  out.key("received_at").text(format_time(entry.received_at));
  out.key("leaf").text(to_base64(as_bytes(entry.leaf_bytes)));
  out.key("leaf_hash").text(to_base64(tlog::leaf_hash(as_bytes(entry.leaf_bytes))));
  if (entry.envelope) {
    out.key("salt").text(to_base64(entry.envelope->salt));
    out.key("envelope").text(to_base64(as_bytes(entry.envelope->bytes)));
    audit::Event event = entry.envelope->event;
    for (const auto& group : entry.groups) {
      if (group.opened) event.group(group.group) = group.opened->bytes;
    }
    out.key("event");
    audit::write_event(out, event);
  }
  write_groups(out, entry);
  out.end_object();
}

std::string entry_json(const audit::EntryView& entry) {
  citadel::json::Writer out;
  write_entry(out, entry);
  return out.take();
}

std::string page_json(const audit::SearchPage& page) {
  citadel::json::Writer out;
  out.begin_object().key("events").begin_array();
  for (const auto& found : page.events) {
    out.begin_object().key("index").integer(number(found.index));
    out.key("class").text(to_string(found.action_class)).key("severity").text(to_string(found.severity));
    out.key("retention").text(to_string(found.retention)).key("event");
    audit::write_event(out, found.event);
    out.end_object();
  }
  out.end_array().key("next_cursor");
  if (page.next_cursor) {
    out.text(*page.next_cursor);
  } else {
    out.null();
  }
  out.end_object();
  return out.take();
}

Result<void> append_export_line(std::string& out, const audit::EntryView& entry) {
  audit::ExportedEntry line{.index = entry.index,
                            .leaf = entry.leaf_bytes,
                            .tree_hash = entry.tree_hash,
                            .envelope = {},
                            .groups = {}};
  std::vector<audit::ExportedGroup> groups;
  if (entry.envelope) {
    line.envelope = audit::ExportedContent{entry.envelope->salt, entry.envelope->bytes};
    for (const auto& group : entry.groups) {
      if (group.opened) groups.push_back({group.group, {group.opened->salt, group.opened->bytes}});
    }
    line.groups = groups;
  }
  return audit::append_export_entry(out, line);
}

void write_hashes(citadel::json::Writer& out, std::span<const tlog::Hash> hashes) {
  out.begin_array();
  for (const auto& hash : hashes) out.text(to_base64(hash));
  out.end_array();
}

}  // namespace citadel::app
