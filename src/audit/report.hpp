// Report: what the entries of a time span show, for an auditor, in the order of a profile. ReportBuilder
// takes the whole log entry by entry and keeps counts, groups and samples of bounded size; a report says how
// many entries support each statement and cites the first of them by index.
//
//   ReportBuilder builder({.profile = *find_profile("soc2"), .from = from, .to = to, .seed = seed});
//   for (…) builder.add(entry);
//   const Report report = builder.finish(verification, origin, now);
//
// A report claims what entries say and no more: that something did not happen is never a statement. What the
// entries cannot show stands in `limits`. Rendered by report_html() and report_json(). Pure; not thread-safe.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "audit/content_account.hpp"
#include "audit/event.hpp"
#include "audit/leaf.hpp"
#include "base/random.hpp"

namespace citadel::audit {

enum class Topic : std::uint8_t {
  population,
  privileged,
  access,
  failed_logins,
  configuration,
  readers,
  retention,
  outages,
  ai_use,
  verification,
};

// What a profile says of a topic: which of its requirements the section is evidence for.
struct ProfileTopic {
  Topic topic;
  std::string_view requirement;
};
struct ReportProfile {
  std::string_view name;                // "soc2"
  std::string_view title;               // "SOC 2 …"
  std::chrono::days retention_floor{};  // how long it wants logs kept; 0: it names no time
  std::string_view retention_source;
  std::vector<ProfileTopic> topics;      // the sections, in order
  std::vector<std::string_view> beyond;  // what it asks for that no audit log can show
};
std::span<const ReportProfile> report_profiles();
Result<ReportProfile> find_profile(std::string_view name);

struct ReportOptions {
  ReportProfile profile;
  WallTime from, to;       // of the entries' own time: from <= time < to
  std::uint64_t seed = 0;  // of the sample: the same seed and the same log give the same sample
  std::size_t sample = 25;
  // Beyond these there are counts alone.
  std::size_t groups_max = 500;  // rows of a table
  std::size_t cited_max = 5;     // entries cited for one row
  std::size_t listed_max = 200;  // entries listed under one topic
};

// An entry as a report shows it.
struct CitedEntry {
  std::uint64_t index = 0;
  Leaf leaf;
  std::optional<Event> event;  // without groups; nothing where it was erased or pruned
};

// Entries that have something in common, and which they are.
struct ReportGroup {
  std::vector<std::string> key;  // as the topic's columns
  std::uint64_t count = 0;
  WallTime first, last;
  std::vector<std::uint64_t> cited;
};
struct ReportTopic {
  Topic topic{};
  std::string title, requirement;
  std::vector<std::string> columns;
  std::vector<std::string> statements;  // sentences
  std::uint64_t count = 0;              // entries that it is about
  std::vector<ReportGroup> groups;      // the largest first
  std::uint64_t ungrouped = 0;          // beyond groups_max
  std::vector<std::uint64_t> listed;    // the first of them
  std::vector<std::string> limits;
};

// How the log was checked while it was read.
struct ReportVerification {
  bool passed = false;
  std::string finding;  // where it did not pass
  std::uint64_t entries = 0, envelopes = 0, envelopes_missing = 0, sequences_excused = 0, tiles = 0;
  ContentAccount::Sums contents;         // why envelopes are missing, as far as it was read
  std::string checkpoint;                // the signed note
  std::string key;                       // against which
  bool key_given = false;                // by whoever made the report; else the daemon named it
  std::vector<std::string> cosigned_by;  // "NAME at TIME"
  bool held_against_older = false;
  std::uint64_t first = 0;                     // of the entries that are there: those before it were pruned
  std::optional<std::uint64_t> pruning_entry;  // that says so
};

struct Report {
  ReportOptions options;
  std::string origin;
  WallTime made_at;
  std::uint64_t examined = 0, in_span = 0;  // entries of the log, and of the time span
  std::optional<WallTime> oldest_content;   // when the oldest content that is there was received
  std::vector<ReportTopic> topics;
  std::map<std::uint64_t, CitedEntry> cited;  // every index that is named
  ReportVerification verification;
};

class ReportBuilder {
 public:
  explicit ReportBuilder(ReportOptions options);
  ~ReportBuilder();

  // In the order of the log. `event` is null where the content is gone.
  void add(std::uint64_t index, const Leaf& leaf, const Event* event);
  Report finish(ReportVerification verification, std::string origin, WallTime made_at);

 private:
  struct Collected;
  void collect(Collected& collected, std::uint64_t index, const Leaf& leaf, const Event* event);
  void sample(std::uint64_t index, const Leaf& leaf, const Event* event);
  void watch_starts(const Leaf& leaf, const Event& event);
  void cite(std::uint64_t index, const Leaf& leaf, const Event* event);
  ReportTopic show(const ProfileTopic& asked);
  void say_population(ReportTopic& out) const;
  void say_outages(ReportTopic& out) const;
  void say_retention(ReportTopic& out) const;
  void say_verification(ReportTopic& out) const;
  void say_contents(ReportTopic& out) const;
  void say_pruned(ReportTopic& out) const;

  Report report_;
  SeededRandom random_;
  std::uint64_t first_index_ = 0, gone_ = 0;    // the log's first; in the span, without content
  std::optional<std::uint64_t> first_content_;  // the first index whose content is there
  std::map<Topic, Collected> collected_;
  std::vector<CitedEntry> sample_;
  std::map<Uuid, bool> running_;  // by producer: started, and not stopped
  std::uint64_t starts_ = 0, starts_without_stop_ = 0;
};

// Self-contained, no script, no link to elsewhere; prints on A4.
std::string report_html(const Report& report);
std::string report_json(const Report& report);

}  // namespace citadel::audit
