// RecentEvents: ids of events that were acknowledged lately and a digest of what they said, so that a repeat
// is told at the door, and an id that comes with other content is refused before it is stored. What is older
// than the memory is settled by the sequencer. Thread-safe.
#pragma once
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "audit/event.hpp"
#include "crypto/sha256.hpp"
#include "journal/journal.hpp"

namespace citadel::app {

// Of all that the event says but when it was received.
crypto::Digest content_digest(const audit::Event& event);

class RecentEvents {
 public:
  explicit RecentEvents(std::size_t count_max) : count_max_(count_max) {}

  enum class Seen : std::uint8_t {
    never,
    same,   // under way or durable; `position` is set where it is durable
    other,  // with other content
  };
  struct Answer {
    Seen seen = Seen::never;
    std::optional<journal::Position> position = {};
  };
  // Remembers what was never seen.
  Answer add(const Uuid& id, const crypto::Digest& digest);
  void set_durable(const Uuid& id, journal::Position position);
  // It was not stored: forgotten, unless another call has stored it meanwhile.
  void forget(const Uuid& id);

 private:
  struct Entry {
    crypto::Digest digest;
    std::optional<journal::Position> position;
  };
  std::mutex mutex_;
  std::size_t count_max_;
  std::unordered_map<Uuid, Entry> entries_;  // guarded by mutex_
  std::deque<Uuid> order_;                   // guarded by mutex_
};

}  // namespace citadel::app
