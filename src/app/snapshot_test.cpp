// Only what docs/api.md promises is looked at: further fields may stand beside it.
#include "app/snapshot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/time_text.hpp"

namespace citadel::app {
namespace {

using resilience::BreakerState;
using testing::HasSubstr;

Snapshot ready() {
  Snapshot out;
  out.at = parse_time("2026-05-06T07:08:09.5Z").value();
  out.uptime = std::chrono::microseconds(1'234'567);
  out.database.pool.open = 4;
  out.database.pool.lent = 1;
  out.schema = {true, true, {}};
  return out;
}

struct Readiness {
  std::string status;
  bool takes = false;
  boost::json::object by_name;  // each dependency
};

Readiness readiness_of(const Snapshot& snapshot) {
  const auto all = dependencies(snapshot);
  const auto json = boost::json::parse(readiness_json(all));
  Readiness out{std::string(json.at("status").as_string()), takes_requests(all), {}};
  for (const auto& item : json.at("dependencies").as_array()) {
    EXPECT_TRUE(item.at("required").is_bool());
    EXPECT_FALSE(item.at("reason").as_string().empty()) << "each has a sentence, also where it is ready";
    out.by_name[item.at("name").as_string()] = item;
  }
  return out;
}

bool is_ready(const Readiness& found, std::string_view name) {
  return found.by_name.at(name).at("ready").as_bool();
}

std::string reason(const Readiness& found, std::string_view name) {
  return std::string(found.by_name.at(name).at("reason").as_string());
}

TEST(Readiness, ReadyIsWhereAllAre) {
  auto snapshot = ready();
  snapshot.journal.undrained_records = 12;
  const auto found = readiness_of(snapshot);
  EXPECT_EQ(found.status, "ready");
  EXPECT_TRUE(found.takes);
  EXPECT_EQ(found.by_name.size(), 3u);
  EXPECT_EQ(reason(found, "journal"), "12 records wait for the database");
  EXPECT_EQ(reason(found, "database"), "4 sessions open, 1 busy");
}

// Records are taken whatever the database does.
TEST(Readiness, ADatabaseThatIsAwayDegradesOnly) {
  auto open = ready();
  open.database.breaker = {.state = BreakerState::open, .reason = "10 failures in a row"};
  auto forced = ready();
  forced.database.breaker.state = BreakerState::forced_open;
  auto refused = ready();
  refused.database.pool.open = 0;
  refused.database.pool.last_open_error = Error(Code::unavailable, "connection refused");
  auto first = ready();
  first.database.pool.open = 0;
  const std::pair<Snapshot, const char*> cases[] = {
      {open, "the circuit breaker is open: 10 failures in a row"},
      {forced, "the circuit breaker is open"},
      {refused, "no session: connection refused"},
      {first, "no session has been opened yet"}};
  for (const auto& [snapshot, said] : cases) {
    const auto found = readiness_of(snapshot);
    EXPECT_EQ(found.status, "degraded");
    EXPECT_TRUE(found.takes);
    EXPECT_FALSE(is_ready(found, "database"));
    EXPECT_THAT(reason(found, "database"), HasSubstr(said));
  }
  auto half = ready();
  half.database.breaker.state = BreakerState::half_open;
  EXPECT_EQ(readiness_of(half).status, "ready") << "it lets calls through";
}

TEST(Readiness, KeysThatAreNotKnownAreSaidWithTheReasonAndRequestsAreTaken) {
  auto snapshot = ready();
  snapshot.keys = access::KeyringStatus{.keys = 7, .age = std::chrono::milliseconds(2'900), .usable = true};
  EXPECT_EQ(reason(readiness_of(snapshot), "keys"), "7 keys, as of 2 s ago");
  EXPECT_EQ(readiness_of(snapshot).status, "ready");
  snapshot.keys->usable = false;
  EXPECT_THAT(reason(readiness_of(snapshot), "keys"), HasSubstr("access.stale_max"));
  EXPECT_EQ(readiness_of(snapshot).status, "degraded");
  snapshot.keys->foreign = true;
  EXPECT_THAT(reason(readiness_of(snapshot), "keys"), HasSubstr("access.pepper_file"));
  snapshot.keys = access::KeyringStatus{};
  EXPECT_THAT(reason(readiness_of(snapshot), "keys"), HasSubstr("not read from the database yet"));
}

TEST(Readiness, ASchemaThatIsOldOrNotKnownDegradesOnly) {
  auto unknown = ready();
  unknown.schema = {};
  EXPECT_EQ(readiness_of(unknown).status, "degraded");
  EXPECT_THAT(reason(readiness_of(unknown), "schema"), HasSubstr("not known yet"));
  auto old = ready();
  old.schema = {true, false, "run citadel migrate"};
  EXPECT_EQ(readiness_of(old).status, "degraded");
  EXPECT_EQ(reason(readiness_of(old), "schema"), "run citadel migrate");
}

TEST(Readiness, WithoutItsJournalOrAtItsStopTheDaemonTakesNothing) {
  auto full = ready();
  full.journal.full = true;
  full.journal.full_reason = "the disk is full";
  auto failed = ready();
  failed.journal.failed = true;
  failed.journal.failure = "fdatasync: EIO";
  auto stopping = ready();
  stopping.stopping = true;
  const std::tuple<Snapshot, const char*, const char*> cases[] = {
      {full, "journal", "the disk is full"},
      {failed, "journal", "fdatasync: EIO; restart"},
      {stopping, "daemon", "is stopping"}};
  for (const auto& [snapshot, name, said] : cases) {
    const auto found = readiness_of(snapshot);
    EXPECT_EQ(found.status, "not_ready");
    EXPECT_FALSE(found.takes);
    EXPECT_TRUE(found.by_name.at(name).at("required").as_bool());
    EXPECT_THAT(reason(found, name), HasSubstr(said));
  }
}

// Each number is another one, so that none stands in another's place.
Snapshot numbered() {
  auto out = ready();
  auto& pool = out.database.pool;
  pool.open = 1, pool.idle = 2, pool.lent = 3, pool.opening = 4, pool.recovering = 5, pool.waiting = 6,
  pool.limit = 7;
  pool.generation = 8, pool.acquired_total = 9, pool.refused_queue_total = 10, pool.refused_time_total = 20;
  pool.paused = true;
  out.database.breaker = {.state = BreakerState::open,
                          .reason = "slow",
                          .calls = 11,
                          .failure_rate = 0.12345,
                          .slow_call_rate = 0.5,
                          .retry_after = std::chrono::milliseconds(1500)};
  out.database.transactions_total = 12, out.database.retries_total = 13;
  out.database.commit_unknown_total = 14, out.database.commit_resolved_total = 15;
  auto& journal = out.journal;
  journal.epoch = 16, journal.undrained_records = 17, journal.undrained_bytes = 18, journal.size_bytes = 19;
  journal.segments = 21, journal.quarantined_segments = 22, journal.appended_total = 23;
  journal.refused_full_total = 24, journal.sync_errors_total = 25;
  auto& drain = out.drain;
  drain.stored_total = 26, drain.repeated_total = 27, drain.conflicting_total = 28,
  drain.undecodable_total = 29;
  drain.dead_letter_total = 30, drain.batches_total = 31, drain.failures_total = 32;
  return out;
}

TEST(StatusJson, HasEachNumberUnderItsName) {
  const auto json = boost::json::parse(status_json(numbered(), "0.1"));
  const auto number = [&](const char* pointer) { return json.at_pointer(pointer).to_number<double>(); };
  const std::pair<const char*, double> wanted[] = {{"/uptime_seconds", 1.235},
                                                   {"/database/pool/open", 1},
                                                   {"/database/pool/idle", 2},
                                                   {"/database/pool/lent", 3},
                                                   {"/database/pool/opening", 4},
                                                   {"/database/pool/recovering", 5},
                                                   {"/database/pool/waiting", 6},
                                                   {"/database/pool/limit", 7},
                                                   {"/database/pool/generation", 8},
                                                   {"/database/pool/acquired_total", 9},
                                                   {"/database/pool/refused_total", 30},
                                                   {"/database/breaker/calls", 11},
                                                   {"/database/breaker/failure_rate", 0.123},
                                                   {"/database/breaker/slow_call_rate", 0.5},
                                                   {"/database/breaker/retry_after_seconds", 1.5},
                                                   {"/database/transactions_total", 12},
                                                   {"/database/retries_total", 13},
                                                   {"/database/commit_unknown_total", 14},
                                                   {"/database/commit_resolved_total", 15},
                                                   {"/journal/epoch", 16},
                                                   {"/journal/undrained_records", 17},
                                                   {"/journal/undrained_bytes", 18},
                                                   {"/journal/size_bytes", 19},
                                                   {"/journal/segments", 21},
                                                   {"/journal/quarantined_segments", 22},
                                                   {"/journal/appended_total", 23},
                                                   {"/journal/refused_full_total", 24},
                                                   {"/journal/sync_errors_total", 25},
                                                   {"/drain/stored_total", 26},
                                                   {"/drain/repeated_total", 27},
                                                   {"/drain/conflicting_total", 28},
                                                   {"/drain/undecodable_total", 29},
                                                   {"/drain/dead_letter_total", 30},
                                                   {"/drain/batches_total", 31},
                                                   {"/drain/failures_total", 32}};
  for (const auto& [pointer, value] : wanted) EXPECT_DOUBLE_EQ(number(pointer), value) << pointer;
  EXPECT_EQ(json.at("version").as_string(), "0.1");
  EXPECT_EQ(json.at("time").as_string(), "2026-05-06T07:08:09.500000Z");
  EXPECT_EQ(json.at_pointer("/database/breaker/state").as_string(), "open");
  EXPECT_EQ(json.at_pointer("/database/breaker/reason").as_string(), "slow");
  EXPECT_TRUE(json.at_pointer("/database/pool/paused").as_bool());
  EXPECT_EQ(json.at("readiness"), boost::json::parse(readiness_json(dependencies(numbered()))));
}

TEST(StatusJson, WhatIsNotThereIsLeftOut) {
  const auto quiet = boost::json::parse(status_json(ready(), "0.1"));
  for (const auto* pointer :
       {"/database/pool/last_open_error", "/journal/oldest_undrained", "/journal/failure", "/journal/warning",
        "/drain/last_success", "/drain/last_error"}) {
    boost::system::error_code error;
    EXPECT_EQ(quiet.find_pointer(pointer, error), nullptr) << pointer;
  }
  auto loud = ready();
  loud.database.pool.last_open_error = Error(Code::unavailable, "refused");
  loud.journal.oldest_undrained = loud.at;
  loud.journal.failed = true;
  loud.journal.failure = "EIO";
  loud.journal.warning = "cursor was removed";
  loud.drain.last_success = loud.at;
  loud.drain.last_error = Error(Code::connection_lost, "gone");
  const auto json = boost::json::parse(status_json(loud, "0.1"));
  const auto text = [&](const char* pointer) { return std::string(json.at_pointer(pointer).as_string()); };
  EXPECT_EQ(text("/database/pool/last_open_error"), "refused");
  EXPECT_EQ(text("/journal/oldest_undrained"), "2026-05-06T07:08:09.500000Z");
  EXPECT_EQ(text("/journal/failure"), "EIO");
  EXPECT_EQ(text("/journal/warning"), "cursor was removed");
  EXPECT_EQ(text("/drain/last_success"), "2026-05-06T07:08:09.500000Z");
  EXPECT_EQ(text("/drain/last_error"), "gone");
}

}  // namespace
}  // namespace citadel::app
