// A report as JSON: what report_html() shows, for programs.
#include "audit/report.hpp"
#include "base/base64.hpp"
#include "base/time_text.hpp"
#include "json/writer.hpp"
#include "tlog/merkle.hpp"

namespace citadel::audit {
namespace {

void write_number(json::Writer& out, std::string_view key, std::uint64_t value) {
  out.key(key).integer(static_cast<std::int64_t>(value));
}

template <class T>
void write_texts(json::Writer& out, std::string_view key, const std::vector<T>& texts) {
  out.key(key).begin_array();
  for (const auto& text : texts) out.text(text);
  out.end_array();
}

void write_indexes(json::Writer& out, std::string_view key, const std::vector<std::uint64_t>& indexes) {
  out.key(key).begin_array();
  for (const auto index : indexes) out.integer(static_cast<std::int64_t>(index));
  out.end_array();
}

void write_topic(json::Writer& out, const ReportTopic& topic) {
  out.begin_object().key("title").text(topic.title).key("requirement").text(topic.requirement);
  write_number(out, "count", topic.count);
  write_texts(out, "statements", topic.statements);
  write_texts(out, "columns", topic.columns);
  out.key("groups").begin_array();
  for (const auto& group : topic.groups) {
    out.begin_object();
    write_texts(out, "key", group.key);
    write_number(out, "count", group.count);
    out.key("first").text(format_time(group.first)).key("last").text(format_time(group.last));
    write_indexes(out, "entries", group.cited);
    out.end_object();
  }
  out.end_array();
  write_number(out, "ungrouped", topic.ungrouped);
  write_indexes(out, "entries", topic.listed);
  write_texts(out, "cannot_show", topic.limits);
  out.end_object();
}

void write_cited(json::Writer& out, const CitedEntry& entry) {
  out.begin_object();
  write_number(out, "index", entry.index);
  out.key("id").text(entry.leaf.id.to_string()).key("time").text(format_time(entry.leaf.time));
  out.key("class").text(to_string(entry.leaf.action_class));
  out.key("leaf_hash").text(to_base64(tlog::leaf_hash(as_bytes(encode_leaf(entry.leaf)))));
  if (entry.event) {
    const auto& event = *entry.event;
    out.key("action").text(event.action).key("outcome").text(to_string(event.outcome));
    out.key("tenant").text(event.tenant).key("actor").begin_object();
    out.key("type").text(event.actor.type).key("id").text(event.actor.id);
    if (!event.actor.address.empty()) out.key("address").text(event.actor.address);
    if (!event.actor.on_behalf_of.empty()) out.key("on_behalf_of").text(event.actor.on_behalf_of);
    out.end_object().key("object").begin_object();
    out.key("type").text(event.object.type).key("id").text(event.object.id).end_object();
    if (!event.reason.empty()) out.key("reason").text(event.reason);
  }
  out.end_object();
}

void write_verification(json::Writer& out, const ReportVerification& found) {
  out.key("verification").begin_object().key("passed").boolean(found.passed);
  if (!found.finding.empty()) out.key("finding").text(found.finding);
  write_number(out, "entries", found.entries);
  write_number(out, "contents", found.envelopes);
  write_number(out, "contents_not_there", found.envelopes_missing);
  write_number(out, "contents_dropped", found.contents.pruned);
  write_number(out, "erasures_unread", found.contents.erasures_unread);
  write_number(out, "sequences_excused", found.sequences_excused);
  write_number(out, "tiles", found.tiles);
  write_number(out, "pruned_entries", found.first);
  if (found.pruning_entry) write_number(out, "pruned_by", *found.pruning_entry);
  out.key("held_against_older").boolean(found.held_against_older);
  out.key("key").text(found.key).key("key_given").boolean(found.key_given);
  write_texts(out, "cosigned_by", found.cosigned_by);
  out.key("checkpoint").text(found.checkpoint).end_object();
}

}  // namespace

std::string report_json(const Report& report) {
  const auto& options = report.options;
  json::Writer out(1 << 16);
  out.begin_object().key("format").text("citadel-audit-report/1");
  out.key("profile").text(options.profile.name).key("title").text(options.profile.title);
  out.key("origin").text(report.origin).key("made_at").text(format_time(report.made_at));
  out.key("from").text(format_time(options.from)).key("to").text(format_time(options.to));
  write_number(out, "entries_in_log", report.examined);
  write_number(out, "entries_in_span", report.in_span);
  out.key("seed").text(std::to_string(options.seed));
  out.key("topics").begin_array();
  for (const auto& topic : report.topics) write_topic(out, topic);
  out.end_array();
  write_texts(out, "beyond", options.profile.beyond);
  write_verification(out, report.verification);
  out.key("entries").begin_array();
  for (const auto& [index, entry] : report.cited) write_cited(out, entry);
  out.end_array().end_object();
  return out.take() + "\n";
}

}  // namespace citadel::audit
