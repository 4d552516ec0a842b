#include "app/audit_trail.hpp"

#include <fmt/format.h>

#include <future>
#include <mutex>
#include <set>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "app/audit_witnesses.hpp"
#include "app/recent_events.hpp"
#include "app/service.hpp"
#include "app/settings.hpp"
#include "app/thread_random.hpp"
#include "audit/catalogue.hpp"
#include "audit/journal_gaps.hpp"
#include "audit/sink.hpp"
#include "base/check.hpp"
#include "base/log.hpp"

namespace citadel::app {
namespace {

using audit::Event;
using audit::Outcome;

constexpr auto tick = std::chrono::seconds(1);
constexpr auto first_entry_time = std::chrono::seconds(10);
// Of tiles of level 1, which every proof needs one of, those of 130 million entries.
constexpr std::size_t tile_bytes_max = 16 << 20;
constexpr std::size_t damage_scan_frames = 10'000;
constexpr std::size_t damage_scan_bytes = 8 << 20;

std::vector<audit::RedactionRule> redaction_rules(const std::string& names) {
  auto rules = audit::default_redaction_rules();
  audit::RedactionRule own{.name = "configured"};
  for (std::string_view rest = names; !rest.empty();) {
    auto name = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (!name.empty()) own.members.emplace_back(name);
  }
  if (!own.members.empty()) rules.push_back(std::move(own));
  return rules;
}

journal::Record record_of(const Event& event, const audit::AuditKeys& keys) {
  const auto action = audit::find_action(event.action);
  CITADEL_CHECK(action.has_value(), "an event that was checked has a known action");
  const auto sealed = audit::seal_event(event, *action, keys.journal.front());
  return {.kind = journal::Kind::audit_event,
          .shed = action->shed,
          .id = event.id,
          .payload = audit::encode_record(sealed)};
}

constexpr pg::Statement read_watermark{
    "audit watermark", "select sequence from citadel.watermark where producer = $1 and epoch = $2"};

// What was lost, where recovery found damage: as the frames that are left show it.
Result<std::vector<audit::JournalRange>> find_gaps(journal::Journal& journal) {
  const auto status = journal.status();
  audit::JournalGaps gaps(status.producer, status.cursor);
  for (auto after = status.cursor;;) {
    CITADEL_ASSIGN(const auto frames, journal.read(after, damage_scan_frames, damage_scan_bytes));
    if (frames.empty()) return gaps.found();
    for (const auto& frame : frames) gaps.next(frame);
    after = frames.back().position;
  }
}

}  // namespace

struct AuditTrail::Impl {
  const Clock& clock;
  std::string origin;
  std::optional<tlog::NoteSigner> signer;  // until attach()
  tlog::NoteVerifier verifier;
  std::vector<tlog::NoteVerifier> older_keys;
  std::shared_ptr<const audit::AuditKeys> keys;
  audit::Redactor redactor;
  std::optional<audit::CheckpointStore> store;              // until attach()
  std::optional<WitnessesConfigured> configured_witnesses;  // until attach()
  RecentEvents recent{recent_max};
  RetentionJob retention;

  mutable std::mutex mutex;
  AuthPolicy auth;  // these are guarded by `mutex`
  std::deque<OwnEvent> owed;
  AuditStatus counts;

  // Behind what its writer's thread uses until the end.
  std::unique_ptr<journal::Journal> journal;
  // On the data plane.
  tlog::TileCache tiles{tile_bytes_max};
  store::Database* database = nullptr;  // from attach() to detach()
  std::shared_ptr<audit::GrowthPermit> permit = std::make_shared<audit::GrowthPermit>();
  std::unique_ptr<audit::Sequencer> sequencer;
  std::unique_ptr<audit::Publisher> publisher;
  std::unique_ptr<drain::Drain> drain;
  std::unique_ptr<aio::Gate> gate;
  bool started = false;
  bool nothing_before = false;           // the journal was empty when it was opened
  std::atomic<std::uint64_t> taken = 0;  // events of others, in this epoch
  bool fork_noted = false;
  std::set<std::string> contradicted_by;  // witnesses, as far as it was noted
  std::uint64_t shed_seen = 0, refused_seen = 0;

  Impl(const Config& config, AuditSecrets secrets, audit::Redactor r, std::unique_ptr<journal::Journal> j,
       audit::CheckpointStore s, const Clock& c)
      : clock(c),
        origin(secrets.origin()),
        signer(std::move(secrets.signer)),
        verifier(signer->verifier()),
        older_keys(std::move(secrets.older_keys)),
        keys(std::move(secrets.keys)),
        redactor(std::move(r)),
        store(std::move(s)),
        retention(config.audit_retention, c),
        auth(std::chrono::duration_cast<Monotonic::duration>(config.audit.auth_success_window)),
        journal(std::move(j)) {}

  Result<void> begin_epoch(journal::Position before);
  Result<std::vector<Recorded>> plan(const std::vector<Event>& events, std::vector<journal::Record>& records);
  void note(OwnEvent own);
  void owe(OwnEvent own);
  void watch();
  void note_witnesses(const audit::WitnessesStatus& status);
  Task<> tick_on();
  template <class F>
  void count(F change) {
    const std::lock_guard lock(mutex);
    change(counts);
  }
};

// ---- open

Result<std::unique_ptr<AuditTrail>> AuditTrail::open(const Config& config, AuditSecrets secrets,
                                                     const Clock& clock) {
  CITADEL_ASSIGN(auto redactor, audit::Redactor::compile(redaction_rules(config.audit.redact)));
  CITADEL_ASSIGN(auto store, audit::CheckpointStore::open(config.audit.checkpoint_folder));
  CITADEL_ASSIGN(auto configured_witnesses, load_witnesses(config.audit));
  CITADEL_ASSIGN(auto journal, journal::Journal::open(audit_journal_options(config), clock));
  auto impl = std::make_unique<Impl>(config, std::move(secrets), std::move(redactor), std::move(journal),
                                     std::move(store), clock);
  impl->counts.journal_bytes_max = static_cast<std::uint64_t>(config.audit.size_bytes_max);
  impl->configured_witnesses = std::move(configured_witnesses);
  impl->nothing_before = impl->journal->status().undrained_records == 0;
  const auto before = impl->journal->status().last_durable;
  CITADEL_TRY(impl->begin_epoch(before));
  return std::unique_ptr<AuditTrail>(new AuditTrail(std::move(impl)));
}

// The epoch's first entry says where the one before ended, so that a tail that is cut off later shows.
Result<void> AuditTrail::Impl::begin_epoch(journal::Position before) {
  const auto status = journal->status();
  std::vector<OwnEvent> own{started_event({status.producer, before.epoch, before.sequence}, version())};
  if (!journal->damage().empty()) {
    CITADEL_ASSIGN(const auto gaps, find_gaps(*journal));
    for (const auto& gap : gaps) {
      log::error("audit", "acknowledged events were lost", {{"range", to_string(gap)}});
      own.push_back(gap_event(gap, journal->damage().front().reason));
    }
    counts.gaps_total = gaps.size();
  }
  std::vector<journal::Record> records;
  for (const auto& event : own) {
    records.push_back(record_of(make_event(event, clock.wall(), thread_random()), *keys));
  }
  auto done = std::make_shared<std::promise<Result<journal::Position>>>();
  auto durable = done->get_future();
  journal->append(std::move(records),
                  [done](Result<journal::Position> result) { done->set_value(std::move(result)); });
  if (durable.wait_for(first_entry_time) != std::future_status::ready) {
    return fail(Code::deadline_exceeded, "the audit journal's disk does not answer");
  }
  auto result = durable.get();
  if (result) return {};
  if (result.error().code != Code::storage_full) {
    return std::unexpected(std::move(result).error().in("the audit journal's first entry"));
  }
  // The daemon starts, and refuses events, as it would where the disk fills while it runs.
  log::warning("audit", "the audit journal has no room; that the daemon started is recorded later", {});
  for (auto& event : own) owe(std::move(event));
  return {};
}

AuditTrail::AuditTrail(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AuditTrail::~AuditTrail() = default;

// ---- on the data plane

void AuditTrail::attach(store::Database& database, const Config& config) {
  auto& impl = *impl_;
  impl.database = &database;
  audit::SequencerOptions sequencing;
  sequencing.id_future_max = config.audit.future_max;
  impl.sequencer = std::make_unique<audit::Sequencer>(impl.keys, impl.permit, sequencing, impl.clock);
  std::vector<std::unique_ptr<drain::Sink>> sinks;
  sinks.push_back(audit::make_audit_sink(*impl.sequencer));
  impl.drain = std::make_unique<drain::Drain>(database, *impl.journal, std::move(sinks),
                                              audit_drain_options(config), impl.clock, random_seed());
  const auto status = impl.journal->status();
  audit::PublisherOptions options;
  options.origin = impl.origin;
  options.journal = {status.producer, status.epoch};
  options.interval = std::chrono::ceil<std::chrono::milliseconds>(config.audit.checkpoint_interval);
  if (impl.configured_witnesses) {
    options.witnesses =
        make_witnesses(*std::move(impl.configured_witnesses), config.audit, database.executor(), impl.clock);
  }
  impl.configured_witnesses.reset();
  impl.publisher = std::make_unique<audit::Publisher>(database, *impl.sequencer, impl.permit,
                                                      *std::move(impl.store), *std::move(impl.signer),
                                                      impl.older_keys, std::move(options), impl.clock);
  impl.signer.reset();
  impl.store.reset();
  impl.drain->on_drained([&impl](journal::Position position) { impl.publisher->drained(position); });
  impl.gate = std::make_unique<aio::Gate>(database.executor());
  impl.gate->spawn("audit watch", impl.tick_on());
}

void AuditTrail::start() {
  impl_->started = true;
  impl_->publisher->start();
  impl_->drain->start();
  impl_->gate->spawn("audit retention", impl_->retention.loop(*impl_->database));
}

Task<Result<void>> AuditTrail::close(Deadline deadline) {
  auto& impl = *impl_;
  CITADEL_CO_TRY(co_await impl.gate->close(Deadline::after(std::chrono::seconds(5), impl.clock)));
  auto stopped =
      co_await record_own({.action = "audit.stopped",
                           .object = {.type = "daemon", .id = impl.journal->status().producer.to_string()}},
                          deadline.within(std::chrono::seconds(2)));
  if (!stopped) log::warning("audit", "the stop was not recorded", {{"error", stopped.error()}});
  auto drained = co_await impl.drain->close(deadline);
  CITADEL_CO_TRY(co_await impl.publisher->close(deadline.within(std::chrono::seconds(3))));
  // A start that was broken off before the database was there leaves its own two entries: nobody else's.
  const bool only_own = !impl.started && impl.nothing_before && impl.taken == 0;
  co_return only_own ? Result<void>() : drained;
}

void AuditTrail::detach() {
  impl_->gate.reset();
  impl_->drain.reset();
  impl_->publisher.reset();
  impl_->sequencer.reset();
}

// The watermark is as old as the log that was restored with it; the journal's cursor knows how far it had
// been.
Task<Result<void>> AuditTrail::accept_fork(std::string reason, std::string who, Deadline deadline) {
  auto& impl = *impl_;
  const auto had = impl.journal->status().cursor;
  const auto producer = impl.journal->status().producer;
  CITADEL_CO_TRY(co_await impl.publisher->accept_fork(std::move(reason), std::move(who), deadline));
  CITADEL_CO_ASSIGN(const auto rows, co_await impl.database->query(
                                         deadline, store::Intent::read_your_writes, read_watermark,
                                         pg::Params(producer, static_cast<std::int64_t>(had.epoch))));
  const auto has = rows.empty() ? 0 : static_cast<std::uint64_t>(rows[0].get<std::int64_t>(0));
  if (has < had.sequence) {
    impl.note(gap_event({producer, had.epoch, has + 1, had.sequence}, "the database lost the log's tail"));
  }
  co_return Result<void>();
}

Task<> AuditTrail::Impl::tick_on() {
  for (;;) {
    co_await aio::sleep_for(tick);
    watch();
  }
}

// What is only seen in sums: refused and shed events, failed authentications beyond the rate, a fork.
void AuditTrail::Impl::watch() {
  std::deque<OwnEvent> again;
  std::uint64_t failures = 0;
  {
    const std::lock_guard lock(mutex);
    again.swap(owed);
    failures = auth.take_uncounted();
  }
  for (auto& own : again) note(std::move(own));
  if (failures > 0) {
    note({.action = "auth.failure",
          .object = {.type = "daemon", .id = "citadel"},
          .outcome = Outcome::denied,
          .reason = fmt::format("{} more failures came too fast to be recorded one by one", failures)});
  }
  const auto status = journal->status();
  if (!status.full && !status.failed) {
    const auto tell = [&](std::string_view action, std::uint64_t& seen, std::uint64_t now,
                          std::string_view what) {
      if (now <= seen) return;
      note({.action = action,
            .object = {.type = "audit_journal", .id = status.producer.to_string()},
            .outcome = Outcome::failure,
            .reason = fmt::format("{} {} were refused for want of room", now - seen, what)});
      seen = now;
    };
    tell("audit.shed", shed_seen, status.shed_total, "events that may be shed");
    tell("audit.journal_full", refused_seen, status.refused_full_total, "events that must be recorded");
  }
  const auto published = publisher->status();
  if (published.witnesses) note_witnesses(*published.witnesses);
  const auto& fork = published.fork;
  if (fork && !fork_noted) {
    note({.action = "audit.fork_detected",
          .object = {.type = "audit_log", .id = origin},
          .outcome = Outcome::failure,
          .reason = fork->message});
  }
  fork_noted = fork.has_value();
}

// A witness that contradicts the log, once, until it cosigns again.
void AuditTrail::Impl::note_witnesses(const audit::WitnessesStatus& status) {
  for (const auto& witness : status.witnesses) {
    if (witness.state == audit::WitnessState::cosigned) contradicted_by.erase(witness.name);
    if (witness.state != audit::WitnessState::inconsistent || !contradicted_by.insert(witness.name).second)
      continue;
    note({.action = "audit.witness_refused",
          .object = {.type = "witness", .id = witness.name},
          .outcome = Outcome::failure,
          .reason = witness.last_error ? witness.last_error->message : ""});
  }
}

// ---- recording

// The records to append, and what is known of each event.
Result<std::vector<Recorded>> AuditTrail::Impl::plan(const std::vector<Event>& events,
                                                     std::vector<journal::Record>& records) {
  std::vector<Recorded> out;
  out.reserve(events.size());
  for (const auto& event : events) {
    const auto seen = recent.add(event.id, content_digest(event));
    if (seen.seen == RecentEvents::Seen::other) {
      for (const auto& record : records) recent.forget(record.id);
      count([](AuditStatus& c) { ++c.id_conflicts_total; });
      const auto place = events.size() == 1 ? std::string("/id") : fmt::format("/{}/id", out.size());
      return fail(Code::conflict,
                  fmt::format("{}: {} is the id of another event, or of this one with other content", place,
                              event.id.to_string()));
    }
    // What is still under way is appended again: the sequencer drops the repeat, and this caller's answer
    // does not depend on the other's.
    out.push_back({event.id, seen.position.value_or(journal::Position{}), seen.position.has_value()});
    if (!seen.position) records.push_back(record_of(event, *keys));
  }
  return out;
}

Task<Result<std::vector<Recorded>>> AuditTrail::record(const std::vector<Event>& events, Deadline deadline) {
  auto& impl = *impl_;
  std::vector<journal::Record> records;
  CITADEL_CO_ASSIGN(auto out, impl.plan(events, records));
  const auto appended = records.size();
  if (appended < out.size()) impl.count([&](AuditStatus& c) { c.repeated_total += out.size() - appended; });
  if (appended == 0) co_return out;
  const auto durable = co_await impl.journal->append(std::move(records), deadline);
  if (!durable) {
    for (const auto& item : out) impl.recent.forget(item.id);
    impl.count([&](AuditStatus& c) { c.refused_total += appended; });
    co_return std::unexpected(durable.error());
  }
  impl.taken += appended;
  auto position = *durable;
  position.sequence -= appended - 1;
  for (auto& item : out) {
    if (item.repeated) continue;
    item.position = position;
    impl.recent.set_durable(item.id, position);
    ++position.sequence;
  }
  co_return out;
}

Task<Result<void>> AuditTrail::record_own(OwnEvent own, Deadline deadline) {
  auto& impl = *impl_;
  std::vector<journal::Record> records;
  records.push_back(record_of(make_event(std::move(own), impl.clock.wall(), thread_random()), *impl.keys));
  CITADEL_CO_TRY(co_await impl.journal->append(std::move(records), deadline));
  co_return Result<void>();
}

void AuditTrail::note(OwnEvent own) {
  impl_->note(std::move(own));
}

// The answer comes on the journal's thread, or at once.
void AuditTrail::Impl::note(OwnEvent own) {
  std::vector<journal::Record> records;
  records.push_back(record_of(make_event(own, clock.wall(), thread_random()), *keys));
  journal->append(std::move(records),
                  [this, own = std::move(own)](const Result<journal::Position>& done) mutable {
                    if (!done) owe(std::move(own));
                  });
}

void AuditTrail::Impl::owe(OwnEvent own) {
  const std::lock_guard lock(mutex);
  if (owed.size() < owed_max) {
    owed.push_back(std::move(own));
  } else {
    ++counts.own_lost_total;
  }
}

void AuditTrail::note_request(const http::RequestSummary& summary) {
  auto& impl = *impl_;
  auto event = request_event(summary);
  if (!event) return;
  {
    const std::lock_guard lock(impl.mutex);
    const auto now = impl.clock.monotonic();
    if (event->outcome == Outcome::denied
            ? !impl.auth.record_failure(now)
            : !impl.auth.record_success(fmt::format("{} {}", event->actor.id, summary.key),
                                        event->actor.address, now))
      return;
  }
  impl.note(*std::move(event));
}

void AuditTrail::note_verification(Verification verification) {
  impl_->count([&](AuditStatus& c) {
    if (verification.passed) {
      c.verified = std::move(verification);
    } else {
      ++c.verifications_failed_total;
    }
  });
}

void AuditTrail::count_redacted(std::uint64_t count) {
  if (count > 0) impl_->count([&](AuditStatus& c) { c.redacted_total += count; });
}

const std::string& AuditTrail::origin() const {
  return impl_->origin;
}
const tlog::NoteVerifier& AuditTrail::verifier() const {
  return impl_->verifier;
}
const std::vector<tlog::NoteVerifier>& AuditTrail::older_keys() const {
  return impl_->older_keys;
}
const std::shared_ptr<const audit::AuditKeys>& AuditTrail::shared_keys() const {
  return impl_->keys;
}
const audit::Redactor& AuditTrail::redactor() const {
  return impl_->redactor;
}
audit::Publisher& AuditTrail::publisher() {
  return *impl_->publisher;
}
tlog::TileCache& AuditTrail::tiles() {
  return impl_->tiles;
}
RetentionJob& AuditTrail::retention() {
  return impl_->retention;
}

AuditStatus AuditTrail::status() const {
  AuditStatus out;
  {
    const std::lock_guard lock(impl_->mutex);
    out = impl_->counts;
    out.owed = impl_->owed.size();
  }
  out.origin = impl_->origin;
  out.verifier_key = impl_->verifier.encode();
  out.schema_ready = impl_->started;
  out.journal = impl_->journal->status();
  out.drain = impl_->drain->status();
  out.publisher = impl_->publisher->status();
  out.retention = impl_->retention.status();
  return out;
}

}  // namespace citadel::app
