#include "audit/publisher.hpp"

#include <fmt/format.h>

#include <boost/asio/thread_pool.hpp>
#include <list>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"

namespace citadel::audit {
namespace {

constexpr pg::Statement set_origin{"audit origin", "update audit.head set origin = $1 where origin = ''"};
constexpr pg::Statement record_fork{"audit accept fork", "select audit.accept_fork($1, $2, $3, $4, $5)"};

constexpr auto look_poll = std::chrono::milliseconds(10);

// Those who wait for a value that only grows.
template <class Key, class Value>
class Waiters {
 public:
  explicit Waiters(std::size_t count_max) : count_max_(count_max) {}

  Task<Result<Value>> wait(Executor executor, Key key, Deadline deadline, std::string_view what) {
    if (waiting_.size() >= count_max_)
      co_return fail(Code::overloaded, "too many callers wait for the audit log");
    const auto waiter = std::make_shared<Waiter>(executor, key);
    const auto place = waiting_.insert(waiting_.end(), waiter);
    auto answer = co_await waiter->answer.wait(deadline);
    if (!answer) {
      waiting_.erase(place);
      co_return fail(Code::deadline_exceeded, fmt::format("{} by the deadline; the event is not lost", what));
    }
    co_return std::move(*answer);
  }
  // Answers those whose key is `reached`.
  template <class Reached>
  void answer(Reached reached, const Result<Value>& value) {
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      if (!reached((*at)->key)) {
        ++at;
        continue;
      }
      (*at)->answer.set(value);
      at = waiting_.erase(at);
    }
  }
  std::size_t size() const { return waiting_.size(); }

 private:
  struct Waiter {
    Waiter(const Executor& executor, Key k) : answer(executor), key(k) {}
    aio::OneShot<Result<Value>> answer;
    Key key;
  };
  std::list<std::shared_ptr<Waiter>> waiting_;
  std::size_t count_max_;
};

}  // namespace

struct Publisher::Impl {
  store::Database& database;
  Sequencer& sequencer;
  std::shared_ptr<GrowthPermit> permit;
  CheckpointStore store;
  tlog::NoteSigner signer;
  tlog::LogPolicy policy;
  PublisherOptions options;
  const Clock& clock;
  aio::Gate gate;
  asio::thread_pool files{1};
  asio::steady_timer wake;
  PublisherStatus status;
  journal::Position drained_to;
  Waiters<journal::Position, bool> drain_waiters;
  Waiters<std::uint64_t, StoredCheckpoint> publish_waiters;
  bool kicked = false;
  bool closing = false;
  bool named = false;              // the head has our origin
  bool looking = false;            // a look is under way
  bool cosigned_unstored = false;  // as the last cosigned checkpoint was

  Impl(store::Database& d, Sequencer& s, std::shared_ptr<GrowthPermit> p, CheckpointStore c,
       tlog::NoteSigner n, std::vector<tlog::NoteVerifier> older_keys, PublisherOptions o, const Clock& k)
      : database(d),
        sequencer(s),
        permit(std::move(p)),
        store(std::move(c)),
        signer(std::move(n)),
        options(std::move(o)),
        clock(k),
        gate(d.executor()),
        wake(d.executor()),
        drain_waiters(options.waiters_max),
        publish_waiters(options.waiters_max) {
    policy.origin = options.origin;
    policy.log_keys = std::move(older_keys);
    policy.log_keys.push_back(signer.verifier());
  }

  template <class F>
  Task<std::invoke_result_t<F>> on_files(F f) {
    co_return co_await aio::run_on(Executor(files.get_executor()), call(std::move(f)));
  }
  template <class F>
  static Task<std::invoke_result_t<F>> call(F f) {
    co_return f();
  }

  Task<> loop();
  Task<Result<void>> look(Deadline deadline);
  Task<Result<void>> name_log(Deadline deadline);
  Task<Result<std::optional<StoredCheckpoint>>> load_stored();
  Task<Result<void>> prove(const LogHead& head, const std::optional<StoredCheckpoint>& stored,
                           Deadline deadline);
  tlog::Checkpoint empty_log() const {
    tlog::Checkpoint checkpoint;
    checkpoint.origin = options.origin;
    return checkpoint;
  }
  Task<Result<void>> check_tree(const LogHead& head, Deadline deadline);
  Result<StoredCheckpoint> sign(const LogHead& head) const;
  Task<Result<void>> swap(const LogHead& head, std::optional<StoredCheckpoint> stored, SwapKind kind,
                          Deadline deadline);
  Task<Result<std::vector<tlog::Hash>>> prove_growth(std::uint64_t old_size, std::uint64_t size,
                                                     Deadline deadline);
  Task<StoredCheckpoint> cosign(StoredCheckpoint stored, Deadline deadline);
  void note_published(const StoredCheckpoint& stored);
  void note_fork(const Error& why);
  void note(const Result<void>& looked);
};

Publisher::Publisher(store::Database& database, Sequencer& sequencer, std::shared_ptr<GrowthPermit> permit,
                     CheckpointStore store, tlog::NoteSigner signer,
                     std::vector<tlog::NoteVerifier> older_keys, PublisherOptions options, const Clock& clock)
    : impl_(std::make_unique<Impl>(database, sequencer, std::move(permit), std::move(store),
                                   std::move(signer), std::move(older_keys), std::move(options), clock)) {}
Publisher::~Publisher() = default;

void Publisher::start() {
  impl_->gate.spawn("audit publisher", impl_->loop());
}

void Publisher::drained(journal::Position position) {
  auto& impl = *impl_;
  impl.drained_to = std::max(impl.drained_to, position);
  impl.drain_waiters.answer([&](const journal::Position& wanted) { return wanted <= impl.drained_to; }, true);
  kick();
}

void Publisher::kick() {
  impl_->kicked = true;
  impl_->wake.cancel();
}

Task<Result<void>> Publisher::close(Deadline deadline) {
  auto& impl = *impl_;
  impl.closing = true;
  impl.wake.cancel();
  // The last look; what it says does not matter any more.
  (void)co_await impl.gate.drain(deadline);
  CITADEL_CO_TRY(co_await impl.gate.close(Deadline::after(std::chrono::seconds(5), impl.clock)));
  const auto all = [](const auto&) { return true; };
  impl.drain_waiters.answer(all, fail(Code::cancelled, "the daemon stops; the event is not lost"));
  impl.publish_waiters.answer(all, fail(Code::cancelled, "the daemon stops; the event is not lost"));
  impl.files.join();
  co_return Result<void>();
}

Task<> Publisher::Impl::loop() {
  for (;;) {
    const bool last = closing;
    kicked = false;
    note(co_await look(Deadline::after(options.publish_timeout, clock)));
    if (last) co_return;
    if (!kicked && !closing) {
      wake.expires_after(options.interval);
      co_await wake.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
      co_return;
  }
}

Task<Result<void>> Publisher::publish(Deadline deadline) {
  auto looked = co_await impl_->look(deadline);
  impl_->note(looked);
  co_return looked;
}

// The store is read at each look, since other daemons may share it.
Task<Result<void>> Publisher::Impl::look(Deadline deadline) {
  if (looking) co_return fail(Code::overloaded, "the head is looked at already", Retry::safe);
  looking = true;
  const std::shared_ptr<void> done(nullptr, [this](void*) { looking = false; });
  CITADEL_CO_TRY(co_await name_log(deadline));
  CITADEL_CO_ASSIGN(const auto stored, co_await load_stored());
  CITADEL_CO_ASSIGN(LogHead head, co_await read_head(database, deadline));
  CITADEL_CO_TRY(co_await prove(head, stored, deadline));
  permit->grant(stored ? stored->checkpoint.size : 0, stored ? stored->checkpoint.root : tlog::empty_root());
  status.fork.reset();

  CITADEL_CO_ASSIGN(const auto taken, co_await sequencer.append_pending(database, options.journal, deadline));
  status.pending_total += taken;
  if (taken > 0) {
    CITADEL_CO_ASSIGN(head, co_await read_head(database, deadline));
    CITADEL_CO_TRY(co_await prove(head, stored, deadline));
  }
  if (stored && stored->checkpoint.size == head.size && stored->fence <= head.fence) {
    note_published(co_await cosign(*stored, deadline));
    co_return Result<void>();
  }
  co_return co_await swap(head, stored, SwapKind::growth, deadline);
}

// Once for a database: the first publisher names the log, and no other may be signed for.
Task<Result<void>> Publisher::Impl::name_log(Deadline deadline) {
  if (named) co_return Result<void>();
  CITADEL_CO_ASSIGN(LogHead head, co_await read_head(database, deadline));
  if (head.origin.empty()) {
    CITADEL_CO_TRY(co_await database.transact<bool>(deadline, store::Intent::write, {.name = "audit origin"},
                                                    [&](pg::Transaction& transaction) -> Task<Result<bool>> {
                                                      CITADEL_CO_TRY(co_await transaction.execute(
                                                          set_origin, pg::Params(options.origin), deadline));
                                                      co_return true;
                                                    }));
    CITADEL_CO_ASSIGN(head, co_await read_head(database, deadline));
  }
  if (head.origin != options.origin) {
    co_return fail(Code::conflict,
                   fmt::format("the audit log of this database is named {}, and this daemon signs for {}",
                               head.origin, options.origin));
  }
  named = true;
  co_return Result<void>();
}

Task<Result<std::optional<StoredCheckpoint>>> Publisher::Impl::load_stored() {
  CITADEL_CO_ASSIGN(auto stored, co_await on_files([this] { return store.load(); }));
  if (!stored) co_return stored;
  const auto opened = tlog::open_checkpoint(stored->note, policy);
  if (!opened) {
    co_return std::unexpected(
        Error(opened.error()).in(fmt::format("checkpoint store {}", store.folder().string())));
  }
  status.stored = *stored;
  co_return stored;
}

// That the tree that the database has extends the stored checkpoint's; conflict where it does not.
Task<Result<void>> Publisher::Impl::prove(const LogHead& head, const std::optional<StoredCheckpoint>& stored,
                                          Deadline deadline) {
  const tlog::Checkpoint old = stored ? stored->checkpoint : empty_log();
  const auto forked = [&](std::string_view what) {
    Error why(
        Code::conflict,
        fmt::format("the audit log has forked: a checkpoint of {} entries is signed, and the database has {} "
                    "entries {}; restore the database, or go on without what is missing by citadel audit "
                    "accept-fork",
                    old.size, head.size, what));
    note_fork(why);
    return std::unexpected(std::move(why));
  };
  if (head.size < old.size) co_return forked("only: a restore or a failover lost the tail");
  if (head.size == old.size) {
    if (head.root != old.root) co_return forked("of other content: the log was rewritten");
    co_return Result<void>();
  }
  if (old.size == 0) {
    auto checked = co_await check_tree(head, deadline);
    if (!checked && checked.error().code == Code::corrupt)
      co_return forked("whose tiles do not give its root");
    co_return checked;
  }
  auto tiles = co_await read_tiles(database, tlog::tiles_for_consistency(old.size, head.size), deadline);
  if (!tiles && tiles.error().code == Code::corrupt)
    co_return forked(fmt::format("and {}", tiles.error().message));
  if (!tiles) co_return std::unexpected(std::move(tiles).error());
  tlog::TileHashReader reader(head.size, tile_source(*std::move(tiles)));
  const auto proof = tlog::prove_consistency(reader, old.size, head.size);
  if (!proof) co_return forked(fmt::format("whose tiles cannot be read ({})", proof.error().message));
  if (!tlog::verify_consistency(old.size, old.root, head.size, head.root, *proof))
    co_return forked("that do not extend it: the log was rewritten, or its tiles were changed");
  co_return Result<void>();
}

// That the tiles give the head's root; corrupt where they do not.
Task<Result<void>> Publisher::Impl::check_tree(const LogHead& head, Deadline deadline) {
  CITADEL_CO_ASSIGN(auto tiles, co_await read_tiles(database, tlog::tiles_for_root(head.size), deadline));
  tlog::TileHashReader reader(head.size, tile_source(std::move(tiles)));
  CITADEL_CO_ASSIGN(const auto root, tlog::read_root(reader, head.size));
  if (root == head.root) co_return Result<void>();
  co_return fail(Code::corrupt,
                 "the audit log's tiles do not give the root that its head has: mend audit.tile first");
}

Result<StoredCheckpoint> Publisher::Impl::sign(const LogHead& head) const {
  StoredCheckpoint next{
      .note = {},
      .checkpoint = {.origin = options.origin, .size = head.size, .root = head.root, .extensions = {}},
      .fence = head.fence};
  CITADEL_ASSIGN(const tlog::Note note, tlog::sign_note(next.checkpoint.encode(), signer));
  next.note = tlog::encode_note(note);
  return next;
}

Task<Result<void>> Publisher::Impl::swap(const LogHead& head, std::optional<StoredCheckpoint> stored,
                                         SwapKind kind, Deadline deadline) {
  CITADEL_CO_ASSIGN(const StoredCheckpoint next, sign(head));
  crash_point(CrashPoint::publisher_before_swap);
  const WallTime now = clock.wall();
  CITADEL_CO_TRY(co_await on_files([&] { return store.swap(stored, next, kind, now, deadline); }));
  crash_point(CrashPoint::publisher_after_swap);
  ++status.published_total;
  status.published_at = now;
  permit->grant(next.checkpoint.size, next.checkpoint.root);
  note_published(co_await cosign(next, deadline));
  co_return Result<void>();
}

Task<Result<std::vector<tlog::Hash>>> Publisher::Impl::prove_growth(std::uint64_t old_size,
                                                                    std::uint64_t size, Deadline deadline) {
  auto tiles = co_await read_tiles(database, tlog::tiles_for_consistency(old_size, size), deadline);
  if (!tiles) co_return std::unexpected(std::move(tiles).error());
  tlog::TileHashReader reader(size, tile_source(*std::move(tiles)));
  co_return tlog::prove_consistency(reader, old_size, size);
}

// The checkpoint with what the witnesses give, stored. Where another daemon stored a larger one meanwhile,
// the next look has that; where it cannot be stored, the checkpoint goes without.
Task<StoredCheckpoint> Publisher::Impl::cosign(StoredCheckpoint stored, Deadline deadline) {
  if (!options.witnesses || stored.checkpoint.size == 0) co_return stored;
  const auto prove = [this, size = stored.checkpoint.size](std::uint64_t old_size, Deadline by) {
    return prove_growth(old_size, size, by);
  };
  StoredCheckpoint next = stored;
  next.note = co_await options.witnesses->cosign(stored.note, stored.checkpoint, prove, deadline);
  if (next.note == stored.note) co_return stored;
  const auto swapped =
      co_await on_files([&] { return store.swap(stored, next, SwapKind::growth, clock.wall(), deadline); });
  if (swapped) {
    cosigned_unstored = false;
    co_return next;
  }
  if (swapped.error().code != Code::conflict && !std::exchange(cosigned_unstored, true))
    log::warning("audit", "cosignatures were not stored", {{"error", swapped.error()}});
  co_return stored;
}

void Publisher::Impl::note_published(const StoredCheckpoint& stored) {
  permit->grant(stored.checkpoint.size, stored.checkpoint.root);
  status.published = status.stored = stored;
  if (options.witnesses) {
    status.cosignatures = options.witnesses->count_cosigned(stored.note);
    status.quorum_met = options.witnesses->quorum_met(stored.note);
  }
  publish_waiters.answer([&](std::uint64_t index) { return index < stored.checkpoint.size; }, stored);
}

void Publisher::Impl::note_fork(const Error& why) {
  if (!status.fork)
    log::error("audit", "the log has forked; nothing is appended or signed", {{"error", why}});
  status.fork = why;
  permit->refuse(why);
}

void Publisher::Impl::note(const Result<void>& looked) {
  if (looked) {
    if (status.last_error) log::info("audit", "checkpoints are signed again", {});
    status.last_error.reset();
    return;
  }
  ++status.failures_total;
  if (!status.last_error) log::warning("audit", "no checkpoint was signed", {{"error", looked.error()}});
  status.last_error = looked.error();
}

Task<Result<void>> Publisher::wait_drained(journal::Position position, Deadline deadline) {
  auto& impl = *impl_;
  if (position <= impl.drained_to) co_return Result<void>();
  if (impl.closing) co_return fail(Code::cancelled, "the daemon stops; the event is not lost");
  CITADEL_CO_TRY(co_await impl.drain_waiters.wait(impl.database.executor(), position, deadline,
                                                  "the event did not reach the database"));
  co_return Result<void>();
}

Task<Result<StoredCheckpoint>> Publisher::wait_published(std::uint64_t index, Deadline deadline) {
  auto& impl = *impl_;
  if (impl.status.published && index < impl.status.published->checkpoint.size)
    co_return *impl.status.published;
  if (impl.closing) co_return fail(Code::cancelled, "the daemon stops; the event is not lost");
  kick();
  co_return co_await impl.publish_waiters.wait(impl.database.executor(), index, deadline,
                                               "no checkpoint covers the entry");
}

Task<Result<void>> Publisher::accept_fork(std::string reason, std::string who, Deadline deadline) {
  auto& impl = *impl_;
  // A look is short, and an operator's decision should not fail because it met one.
  while (impl.looking && !deadline.expired()) co_await aio::sleep_for(look_poll);
  const auto looked = co_await impl.look(deadline);
  if (looked || !impl.status.fork) {
    if (!looked) co_return std::unexpected(looked.error());
    co_return fail(Code::conflict, "the audit log has not forked: there is nothing to accept");
  }
  impl.looking = true;
  const std::shared_ptr<void> done(nullptr, [&impl](void*) { impl.looking = false; });
  CITADEL_CO_ASSIGN(const auto stored, co_await impl.load_stored());
  const tlog::Checkpoint old = stored ? stored->checkpoint : impl.empty_log();
  const auto fence = stored ? stored->fence : 0;
  CITADEL_CO_ASSIGN(const LogHead before, co_await read_head(impl.database, deadline));
  CITADEL_CO_TRY(co_await impl.check_tree(before, deadline));
  CITADEL_CO_TRY(co_await impl.database.transact<bool>(
      deadline, store::Intent::write, {.name = "audit accept fork"},
      [&](pg::Transaction& transaction) -> Task<Result<bool>> {
        const pg::Params params(static_cast<std::int64_t>(old.size), Bytes(old.root),
                                static_cast<std::int64_t>(fence), reason, who);
        CITADEL_CO_TRY(co_await transaction.execute(record_fork, params, deadline));
        co_return true;
      }));
  CITADEL_CO_ASSIGN(const LogHead head, co_await read_head(impl.database, deadline));
  CITADEL_CO_TRY(co_await impl.swap(head, stored, SwapKind::accepted_fork, deadline));
  log::warning("audit", "a fork of the log was accepted",
               {{"who", who}, {"reason", reason}, {"checkpoint_size", old.size}, {"size", head.size}});
  impl.status.fork.reset();
  kick();
  co_return Result<void>();
}

bool Publisher::is_witnessed(const StoredCheckpoint& checkpoint) const {
  const auto& witnesses = impl_->options.witnesses;
  return !witnesses || witnesses->quorum_met(checkpoint.note);
}

PublisherStatus Publisher::status() const {
  auto status = impl_->status;
  if (impl_->options.witnesses) status.witnesses = impl_->options.witnesses->status();
  status.waiters = impl_->drain_waiters.size() + impl_->publish_waiters.size();
  return status;
}

}  // namespace citadel::audit
