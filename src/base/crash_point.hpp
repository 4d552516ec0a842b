// Crash points: named places where a test lets the process die as by kill -9, to prove that nothing
// acknowledged is lost whatever the moment. Off, a point costs one relaxed load of a bool.
//
//   CITADEL_CRASH_POINT=journal.append.before_sync:17   dies at the 17th passing of that point (default: the
//   first)
//
// The variable is read once, before main. A name that is not in the list, or a count that is none, ends the
// process with a message, so that a test cannot pass because of a misspelling. Thread-safe.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace citadel {

// Every point there is; crash_point_names has the same order.
enum class CrashPoint : std::uint8_t {
  journal_append_before_write,
  journal_append_half_written,
  journal_append_before_sync,
  journal_append_after_sync,
  journal_append_before_ack,
  journal_append_after_ack,
  journal_segment_before_create,
  journal_segment_after_allocate,
  journal_segment_after_header,
  journal_segment_after_sync,
  journal_segment_after_rename,
  journal_segment_after_folder_sync,
  journal_cursor_before_write,
  journal_cursor_half_written,
  journal_cursor_before_sync,
  journal_cursor_after_sync,
  journal_cursor_before_replace,
  journal_cursor_after_replace,
  journal_unlink_before,
  journal_unlink_after,
  journal_recovery_before_cut,
  journal_recovery_after_cut,
  journal_recovery_after_sync,
  journal_epoch_before_write,
  journal_epoch_after_write,
  journal_seal_before_write,
  journal_seal_after_write,
  journal_seal_after_sync,
  drain_before_transaction,
  drain_before_watermark,
  drain_before_commit,
  drain_after_commit,
  drain_after_advance,
  checkpoint_history_half_written,
  checkpoint_after_history,
  checkpoint_before_write,
  checkpoint_half_written,
  checkpoint_before_sync,
  checkpoint_before_rename,
  checkpoint_after_rename,
  checkpoint_after_folder_sync,
  checkpoint_after_view,
  publisher_before_swap,
  publisher_after_swap,
  pg_statement_before_send,
  pg_statement_after_send,
  pg_copy_before_data,
  pg_copy_before_end,
  count_,
};

inline constexpr auto crash_point_names = std::to_array<std::string_view>({
    "journal.append.before_write",   "journal.append.half_written",
    "journal.append.before_sync",    "journal.append.after_sync",
    "journal.append.before_ack",     "journal.append.after_ack",
    "journal.segment.before_create", "journal.segment.after_allocate",
    "journal.segment.after_header",  "journal.segment.after_sync",
    "journal.segment.after_rename",  "journal.segment.after_folder_sync",
    "journal.cursor.before_write",   "journal.cursor.half_written",
    "journal.cursor.before_sync",    "journal.cursor.after_sync",
    "journal.cursor.before_replace", "journal.cursor.after_replace",
    "journal.unlink.before",         "journal.unlink.after",
    "journal.recovery.before_cut",   "journal.recovery.after_cut",
    "journal.recovery.after_sync",   "journal.epoch.before_write",
    "journal.epoch.after_write",     "journal.seal.before_write",
    "journal.seal.after_write",      "journal.seal.after_sync",
    "drain.before_transaction",      "drain.before_watermark",
    "drain.before_commit",           "drain.after_commit",
    "drain.after_advance",           "checkpoint.history.half_written",
    "checkpoint.after_history",      "checkpoint.before_write",
    "checkpoint.half_written",       "checkpoint.before_sync",
    "checkpoint.before_rename",      "checkpoint.after_rename",
    "checkpoint.after_folder_sync",  "checkpoint.after_view",
    "publisher.before_swap",         "publisher.after_swap",
    "pg.statement.before_send",      "pg.statement.after_send",
    "pg.copy.before_data",           "pg.copy.before_end",
});
static_assert(crash_point_names.size() == static_cast<std::size_t>(CrashPoint::count_));

namespace detail {
extern std::atomic<bool> crash_point_armed;
bool pass_crash_point(CrashPoint point);
}  // namespace detail

// Whether this passing of `point` is the one to die at. For places that do half of something first.
inline bool crash_is_due(CrashPoint point) {
  return detail::crash_point_armed.load(std::memory_order_relaxed) && detail::pass_crash_point(point);
}

// SIGKILL to this process: no destructor, no buffer is flushed.
[[noreturn]] void crash_now();

inline void crash_point(CrashPoint point) {
  if (crash_is_due(point)) [[unlikely]]
    crash_now();
}

}  // namespace citadel
