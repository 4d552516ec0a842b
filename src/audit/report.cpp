#include "audit/report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/time_text.hpp"

namespace citadel::audit {
namespace {

using Key = std::vector<std::string>;

struct TopicRow {
  Topic topic;
  std::string_view title;
  std::string_view what;  // "entries record …"
  std::vector<std::string_view> columns;
  bool (*takes)(const Leaf& leaf, const Event& event);
  Key (*key)(const Event& event);
  std::vector<std::string_view> limits;  // what entries of this kind cannot show
};

bool is_one_of(std::string_view action, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, action) != names.end();
}

std::string name_of(const Actor& actor) {
  auto name = fmt::format("{} {}", actor.type, actor.id);
  if (!actor.on_behalf_of.empty()) name += fmt::format(" for {}", actor.on_behalf_of);
  return name;
}

bool is_privileged(const Leaf& leaf, const Event& event) {
  if (leaf.action_class == ActionClass::identity)
    return !is_one_of(event.action, {"auth.success", "auth.failure", "key.denied"});
  return event.action.starts_with("database.") || event.action.starts_with("migration.") ||
         event.action.starts_with("backup.") ||
         is_one_of(event.action, {"audit.erasure", "audit.fork_accepted", "audit.hold_released",
                                  "audit.key_rotated", "audit.restored"});
}

using enum Topic;
const std::vector<TopicRow> topic_rows{
    {population,
     "Population and sample",
     "something",
     {"action", "class", "outcome"},
     [](const Leaf&, const Event&) { return true; },
     [](const Event& e) {
       const auto action = find_action(e.action);
       return Key{e.action, action ? std::string(to_string(action->action_class)) : "",
                  std::string(to_string(e.outcome))};
     },
     {"An act that no daemon was told of and no trigger saw is not in the log, and not in this report.",
      "Times are those of whoever recorded the event, within the limits that the daemon sets."}},
    {privileged,
     "Privileged activity",
     "privileged activity",
     {"actor", "action"},
     is_privileged,
     [](const Event& e) { return Key{name_of(e.actor), e.action}; },
     {"Who stands behind a shared key, and whether the act was approved."}},
    {access,
     "Access review",
     "a successful authentication",
     {"actor", "method", "address"},
     [](const Leaf&, const Event& e) { return e.action == "auth.success"; },
     [](const Event& e) { return Key{name_of(e.actor), e.actor.auth_method, e.actor.address}; },
     {"A key's success is recorded once per address within audit.auth_success_window: the count is not one "
      "of sessions or requests.",
      "Which rights an actor has: the log shows their changes, under privileged activity, not their "
      "state."}},
    {failed_logins,
     "Failed logins and denied acts",
     "a failed authentication or an act that was denied",
     {"address", "actor", "action"},
     [](const Leaf&, const Event& e) {
       return is_one_of(e.action, {"auth.failure", "key.denied"}) || e.outcome == Outcome::denied;
     },
     [](const Event& e) { return Key{e.actor.address, name_of(e.actor), e.action}; },
     {"Failures beyond 20 a second stand in the log as one entry whose reason has their number; it counts "
      "as one here.",
      "Attempts that something in front of the daemon turned away."}},
    {configuration,
     "Configuration changes",
     "a change of configuration or state",
     {"action", "actor"},
     [](const Leaf& leaf, const Event&) { return leaf.action_class == ActionClass::change; },
     [](const Event& e) { return Key{e.action, name_of(e.actor)}; },
     {"Values before and after are sealed: `citadel audit get INDEX --open` shows them, and is recorded."}},
    {readers,
     "Who read the log",
     "that the log was read, searched, exported, proved, verified or reported on",
     {"actor", "action", "address"},
     [](const Leaf&, const Event& e) {
       return is_one_of(e.action, {"audit.read", "audit.searched", "audit.exported", "audit.proved",
                                   "audit.tailed", "audit.reported", "audit.verified"});
     },
     [](const Event& e) { return Key{name_of(e.actor), e.action, e.actor.address}; },
     {"Who reads tables in PostgreSQL itself leaves no entry; sealed content cannot be read there without "
      "the master key.",
      "Who read an export after it was made."}},
    {retention,
     "Retention and holds",
     "a retention run, a hold, an erasure or a rotated key",
     {"action", "object", "actor"},
     [](const Leaf&, const Event& e) {
       return is_one_of(e.action, {"audit.retention_run", "audit.hold_placed", "audit.hold_released",
                                   "audit.erasure", "audit.key_rotated"});
     },
     [](const Event& e) {
       return Key{e.action, fmt::format("{} {}", e.object.type, e.object.id), name_of(e.actor)};
     },
     {"That backups and exports elsewhere were kept, or erased."}},
    {outages,
     "Outages and gaps",
     "a start, a stop, or something that was lost, refused or set aside",
     {"action", "object"},
     [](const Leaf&, const Event& e) {
       return is_one_of(
           e.action, {"audit.started", "audit.stopped", "audit.gap", "audit.journal_full", "audit.shed",
                      "audit.fork_detected", "audit.fork_accepted", "audit.undecodable", "audit.restored",
                      "audit.verification_failed", "audit.witness_refused", "service.start", "service.stop",
                      "backup.restore", "migration.failure"});
     },
     [](const Event& e) { return Key{e.action, fmt::format("{} {}", e.object.type, e.object.id)}; },
     {"How long the service was away: between a stop and a start nobody recorded.",
      "The last events of a daemon whose machine and journal were lost together."}},
    {ai_use,
     "Uses, and what humans decided",
     "a use, or what a human decided about one",
     {"action", "object", "outcome"},
     [](const Leaf& leaf, const Event&) { return leaf.action_class == ActionClass::use; },
     [](const Event& e) {
       return Key{e.action, fmt::format("{} {}", e.object.type, e.object.id),
                  std::string(to_string(e.outcome))};
     },
     {"Uses may be shed where the journal is nearly full; entries audit.shed, under outages, have their "
      "number.",
      "What was asked and answered is sealed, and not in this report."}},
    {verification,
     "Verification transcript",
     "an earlier verification",
     {"action", "actor"},
     [](const Leaf&, const Event& e) {
       return is_one_of(e.action, {"audit.verified", "audit.verification_failed"});
     },
     [](const Event& e) { return Key{e.action, name_of(e.actor)}; },
     {"That the log is complete before its entries reached a daemon.",
      "Prompts, responses, tools and details were not opened, and so not held against their commitments: "
      "`citadel audit verify` does that.",
      "Whoever has the signing key can sign another history, unless witnesses cosign: hold the log against "
      "a checkpoint that was kept elsewhere."}},
};

const TopicRow& row_of(Topic topic) {
  return *std::ranges::find(topic_rows, topic, &TopicRow::topic);
}

std::int64_t days_between(WallTime from, WallTime to) {
  return std::chrono::floor<std::chrono::days>(to - from).count();
}

}  // namespace

struct ReportBuilder::Collected {
  const TopicRow* row = nullptr;
  std::uint64_t count = 0, ungrouped = 0;
  std::map<Key, ReportGroup> groups;
  std::vector<std::uint64_t> listed;
};

ReportBuilder::ReportBuilder(ReportOptions options) : random_(options.seed) {
  report_.options = std::move(options);
  for (const auto& asked : report_.options.profile.topics) collected_[asked.topic].row = &row_of(asked.topic);
}
ReportBuilder::~ReportBuilder() = default;

void ReportBuilder::add(std::uint64_t index, const Leaf& leaf, const Event* event) {
  if (report_.examined++ == 0) first_index_ = index;
  if (event != nullptr) {
    if (!first_content_) first_content_ = index;
    // Not the event's own time, which is a claim of whoever sent it.
    report_.oldest_content =
        std::min(report_.oldest_content.value_or(event->received_at), event->received_at);
  }
  const bool within = leaf.time >= report_.options.from && leaf.time < report_.options.to;
  if (!within) return;
  ++report_.in_span;
  sample(index, leaf, event);
  if (event == nullptr) {
    ++gone_;
    return;
  }
  watch_starts(leaf, *event);
  for (auto& [topic, collected] : collected_) {
    if (collected.row->takes(leaf, *event)) collect(collected, index, leaf, event);
  }
}

void ReportBuilder::collect(Collected& collected, std::uint64_t index, const Leaf& leaf, const Event* event) {
  const auto& options = report_.options;
  ++collected.count;
  const bool lists = collected.row->topic != Topic::population && collected.row->topic != Topic::ai_use;
  if (lists && collected.listed.size() < options.listed_max) {
    collected.listed.push_back(index);
    cite(index, leaf, event);
  }
  auto key = collected.row->key(*event);
  auto at = collected.groups.find(key);
  if (at == collected.groups.end()) {
    if (collected.groups.size() == options.groups_max) {
      ++collected.ungrouped;
      return;
    }
    at = collected.groups.try_emplace(key).first;
    at->second = {.key = std::move(key), .count = 0, .first = leaf.time, .last = leaf.time, .cited = {}};
  }
  auto& group = at->second;
  ++group.count;
  group.first = std::min(group.first, leaf.time);
  group.last = std::max(group.last, leaf.time);
  if (group.cited.size() < options.cited_max) {
    group.cited.push_back(index);
    cite(index, leaf, event);
  }
}

// Algorithm R (Vitter 1985): each entry of the span is as likely as any other.
void ReportBuilder::sample(std::uint64_t index, const Leaf& leaf, const Event* event) {
  const auto size = report_.options.sample;
  const auto place = report_.in_span <= size ? report_.in_span - 1 : random_.below(report_.in_span);
  if (place >= size) return;
  CitedEntry entry{.index = index, .leaf = leaf, .event = {}};
  if (event != nullptr) entry.event = *event;
  if (place == sample_.size()) {
    sample_.push_back(std::move(entry));
  } else {
    sample_[place] = std::move(entry);
  }
}

void ReportBuilder::watch_starts(const Leaf& leaf, const Event& event) {
  if (event.action == "audit.stopped") running_[leaf.producer] = false;
  if (event.action != "audit.started") return;
  ++starts_;
  if (std::exchange(running_[leaf.producer], true)) ++starts_without_stop_;
}

void ReportBuilder::cite(std::uint64_t index, const Leaf& leaf, const Event* event) {
  auto [at, is_new] = report_.cited.try_emplace(index);
  if (!is_new) return;
  at->second = {.index = index, .leaf = leaf, .event = {}};
  if (event != nullptr) at->second.event = *event;
}

void ReportBuilder::say_population(ReportTopic& out) const {
  out.statements = {
      fmt::format("{} entries of the log were read, and {} of them are of this time.", report_.examined,
                  report_.in_span),
      fmt::format("{} entries were drawn from these by chance (seed {}); the same log and seed give the same "
                  "sample.",
                  sample_.size(), report_.options.seed)};
  if (gone_ > 0) {
    out.statements.push_back(
        fmt::format("Of {} entries the content is not there; they are counted here alone.", gone_));
  }
}

void ReportBuilder::say_outages(ReportTopic& out) const {
  if (starts_ == 0) return;
  out.statements.push_back(
      fmt::format("Daemons started {} times; {} of these starts had no recorded stop before them.", starts_,
                  starts_without_stop_));
}

void ReportBuilder::say_retention(ReportTopic& out) const {
  const auto& profile = report_.options.profile;
  out.limits.push_back(fmt::format("Whether the time is long enough. {}", profile.retention_source));
  if (report_.examined == 0) return;
  const auto reach = report_.oldest_content ? days_between(*report_.oldest_content, report_.made_at) : 0;
  if (report_.oldest_content) {
    out.statements.push_back(
        fmt::format("The oldest content that is there was received at {}, {} days before this report.",
                    format_time(*report_.oldest_content), reach));
  } else {
    out.statements.emplace_back("No entry's content is there.");
  }
  const auto floor = profile.retention_floor.count();
  if (floor > 0 && reach < floor) {
    out.statements.push_back(fmt::format("That is less than the {} days that the profile asks for{}.", floor,
                                         first_content_ == 0 ? ": the log is younger" : ""));
  }
  if (first_content_ == 0) {
    out.statements.emplace_back("The content of the log's first entry, index 0, is there.");
  } else if (const auto leaves = first_content_.value_or(first_index_ + report_.examined) - first_index_;
             leaves > 0) {
    out.statements.push_back(fmt::format("Of the first {} entries{} the leaves alone are there.", leaves,
                                         first_index_ > 0 ? " that are there" : ""));
  }
  say_pruned(out);
}

// The beginning of the log that is not there any more.
void ReportBuilder::say_pruned(ReportTopic& out) const {
  const auto& found = report_.verification;
  if (found.first == 0) return;
  out.statements.push_back(fmt::format(
      "The log's first {} entries, 0 to {}, are not in it any more: {}.", found.first, found.first - 1,
      found.pruning_entry
          ? fmt::format("they were pruned, as entry {} says", *found.pruning_entry)
          : "no entry that is there says that they were pruned; that this is right is the word of "
            "whoever made this report (--pruned)"));
  out.limits.push_back(
      fmt::format("What entries 0 to {} said, when and by whom, and whether a producer's sequence had a gap "
                  "among them: of these the hashes alone are there.",
                  found.first - 1));
}

// Why contents are not there. Where erasures were not opened, what they took is among the missing.
void ReportBuilder::say_contents(ReportTopic& out) const {
  const auto& contents = report_.verification.contents;
  if (contents.pruned > 0)
    out.statements.push_back(
        fmt::format("{} of these were dropped when due, as the log says.", contents.pruned));
  if (contents.erased > 0)
    out.statements.push_back(fmt::format("{} of these were erased, as the log says.", contents.erased));
  if (contents.missing == 0) return;
  if (contents.erasures_unread > 0) {
    out.limits.push_back(fmt::format(
        "Whether the content of {} entries was erased or taken away: {} erasures of this log were "
        "not opened. `citadel audit verify` opens them, and tells.",
        contents.missing, contents.erasures_unread));
    return;
  }
  out.statements.push_back(fmt::format(
      "Of {} of these, in {} from entry {} to {}, nothing in this log says why: unless a later entry does, "
      "somebody removed them.",
      contents.missing, to_string(*contents.month), contents.first, contents.last));
}

void ReportBuilder::say_verification(ReportTopic& out) const {
  const auto& found = report_.verification;
  if (!found.passed) {
    out.statements.push_back(fmt::format(
        "The log did NOT verify, and nothing in this report can be relied on: {}", found.finding));
    return;
  }
  out.statements.push_back(fmt::format(
      "All {} entries{} are under the signed checkpoint below: every leaf stands in the tree at its index, "
      "the "
      "tree has the signed root, and {} tiles above the leaves agree with it.",
      found.entries, found.first > 0 ? fmt::format(" that are there, from entry {} on,", found.first) : "",
      found.tiles));
  if (found.first > 0) {
    out.statements.push_back(
        fmt::format("The hashes of the {} entries before them are in the tree: its levels above the leaves "
                    "agree with each other there, and with the signed root.",
                    found.first));
  }
  say_pruned(out);
  out.statements.push_back(
      fmt::format("The content of {} entries is what their leaf commits to; of {} it is not there.",
                  found.envelopes, found.envelopes_missing));
  say_contents(out);
  out.statements.push_back(
      found.sequences_excused == 0
          ? "No producer's sequence has a gap."
          : fmt::format(
                "{} events are missing from producers' sequences, each recorded by an entry audit.gap.",
                found.sequences_excused));
  out.statements.push_back(found.held_against_older
                               ? "The log extends the checkpoint that was verified before, from this machine."
                               : "There was no earlier checkpoint to hold it against.");
  if (found.cosigned_by.empty()) {
    out.limits.emplace_back("No cosignature of a witness was checked.");
  } else {
    out.statements.push_back(fmt::format("Cosigned by {} witnesses.", found.cosigned_by.size()));
  }
  if (!found.key_given) {
    out.limits.emplace_back(
        "The key was the daemon's own word when it was first seen, and not given by the auditor (--key).");
  }
}

ReportTopic ReportBuilder::show(const ProfileTopic& asked) {
  auto& collected = collected_[asked.topic];
  const auto& row = *collected.row;
  ReportTopic out{.topic = asked.topic,
                  .title = std::string(row.title),
                  .requirement = std::string(asked.requirement),
                  .columns = {row.columns.begin(), row.columns.end()},
                  .statements = {},
                  .count = collected.count,
                  .groups = {},
                  .ungrouped = collected.ungrouped,
                  .listed = std::move(collected.listed),
                  .limits = {row.limits.begin(), row.limits.end()}};
  for (auto& [key, group] : collected.groups) out.groups.push_back(std::move(group));
  std::ranges::sort(out.groups, [](const ReportGroup& a, const ReportGroup& b) {
    return a.count != b.count ? a.count > b.count : a.key < b.key;
  });
  if (asked.topic == Topic::population) {
    say_population(out);
    for (const auto& entry : sample_) out.listed.push_back(entry.index);
    std::ranges::sort(out.listed);
  } else if (out.count == 0) {
    out.statements.push_back(fmt::format(
        "No entry of this time records {}. That is not evidence that nothing happened.", row.what));
  } else {
    out.statements.push_back(fmt::format("{} entries of this time record {}.", out.count, row.what));
  }
  if (asked.topic == Topic::outages) say_outages(out);
  if (asked.topic == Topic::retention) say_retention(out);
  if (asked.topic == Topic::verification) say_verification(out);
  return out;
}

Report ReportBuilder::finish(ReportVerification verification, std::string origin, WallTime made_at) {
  report_.verification = std::move(verification);
  report_.origin = std::move(origin);
  report_.made_at = made_at;
  for (const auto& asked : report_.options.profile.topics) report_.topics.push_back(show(asked));
  for (auto& entry : sample_) report_.cited.try_emplace(entry.index, std::move(entry));
  return std::move(report_);
}

}  // namespace citadel::audit
