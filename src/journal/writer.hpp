// Writer: the thread that makes records durable. It takes what is queued, writes it at once, calls fdatasync
// once, and acknowledges all of it; meanwhile the next group gathers in the queue.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "aio/wait.hpp"
#include "journal/folder.hpp"
#include "journal/journal.hpp"
#include "journal/state.hpp"

namespace citadel::journal {

// One call of append(): its records stand or fall together.
struct Append {
  using Shot = aio::OneShot<Result<Position>>;

  std::vector<Record> records;
  std::size_t bytes = 0;  // as frames
  bool sheddable = false;
  std::optional<Deadline> deadline;
  // How the caller is told: a function, or a value set on its executor.
  std::function<void(Result<Position>)> done;
  std::shared_ptr<Shot> shot;
  Executor executor;
};

class Writer {
 public:
  // `state` and the folder's descriptor outlive the writer. start() comes once, before the first submit().
  Writer(const Options& options, const Clock& clock, State& state, const Opened& opened);
  // Writes what is queued, seals the segment, and joins the thread.
  ~Writer();
  Writer(const Writer&) = delete;

  // Begins the first segment, so that a folder that cannot be written is known at once. A full disk is no
  // error: the journal heals when there is room.
  Result<void> start();
  // Queues it, or says why not; then nothing of `append` is kept. Thread-safe.
  Result<void> submit(Append append);
  void on_durable(std::function<void()> callback) {
    const std::lock_guard lock(callback_mutex_);
    on_durable_ = std::move(callback);
  }

 private:
  void run();
  std::optional<std::vector<Append>> take();
  void gather_company(std::unique_lock<std::mutex>& lock);
  void write(std::vector<Append> appends);
  Result<void> admit(const Append& append);
  void tell_room(const Append& append, const Result<void>& made);
  Result<void> make_room(const Append& append);
  void encode(const Append& append);
  void commit();
  Result<void> write_and_sync();
  void publish();
  void poison(const Error& error);
  void watch_files();
  void rescue(Segment& segment, std::uint64_t bytes);
  void acknowledge(const std::optional<Error>& error);
  Result<void> ensure_spare();
  Result<void> rotate();
  void seal();
  void fail_closed(const Error& error);
  std::uint64_t room() const;

  const Options& options_;
  const Clock& clock_;
  State& state_;
  const int folder_fd_;

  // Held during the call as well, so that nobody is called after he was taken out.
  std::mutex callback_mutex_;
  std::function<void()> on_durable_;

  // Guarded by queue_mutex_.
  std::mutex queue_mutex_;
  std::condition_variable wake_;
  std::deque<Append> queue_;
  std::size_t queued_records_ = 0;
  std::size_t queued_bytes_ = 0;
  std::size_t wanted_ = 1;  // appends in the queue, for which the writer's thread is woken
  bool stopping_ = false;
  bool failed_ = false;

  // The writer thread's own.
  SegmentHeader next_;  // of the next segment; previous_… is where the durable frames end
  std::shared_ptr<Segment> active_;
  UniqueFd spare_;              // an allocated file without a name of its own
  std::uint64_t offset_ = 0;    // where the group begins
  std::uint64_t sequence_ = 0;  // the last one given
  crypto::Digest hash_{};
  std::string buffer_;  // the group's frames
  std::vector<IndexEntry> places_;
  WallTime group_time_;
  struct Member {
    Append append;
    Position position;
  };
  std::vector<Member> group_;
  // What an allocation that failed for lack of room waits for: time, or segments unlinked.
  MonotonicTime full_until_{};
  std::uint64_t full_at_freed_ = 0;
  bool closed_ = false;  // what failed_ tells the callers
  std::size_t last_group_ = 0;
  Monotonic::duration last_sync_{};
  MonotonicTime watch_at_ = Monotonic::now();  // when the folder's files are looked after again
  // Held so that one more segment can be begun when the process is out of descriptors.
  UniqueFd reserve_;

  std::thread thread_;
};

}  // namespace citadel::journal
