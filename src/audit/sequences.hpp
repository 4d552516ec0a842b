// Sequences: what each producer's epochs and sequences must be in a log, entry by entry. The part of the
// verifier that sees an entry which is missing, twice there, or in another order.
//
// A producer's epochs only grow. In an epoch sequences start at 1 and grow by 1. A jump leaves a hole, which
// an audit.gap entry further on may excuse; a step back is a fault at once. Memory is that of the producers
// and of the holes that are open. Pure; not thread-safe.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "audit/journal_range.hpp"

namespace citadel::audit {

class Sequences {
 public:
  struct Limits {
    std::size_t producers_max = 10'000;
    std::size_t holes_max = 10'000;
  };
  // The log begins with its first entry, or behind a prefix that was pruned: then a producer that is seen for
  // the first time may be anywhere.
  enum class Start : std::uint8_t { first_entry, pruned };

  struct Fault {
    std::uint64_t index = 0;  // of the entry at fault
    std::string what;
  };

  Sequences(Limits limits, Start start) : limits_(limits), start_(start) {}

  std::optional<Fault> next(std::uint64_t index, const Uuid& producer, std::uint64_t epoch,
                            std::uint64_t sequence);
  // The entry just given says that this was the last position of its producer's epoch before.
  std::optional<Fault> last_before(std::uint64_t index, const Uuid& producer,
                                   const JournalPosition& position);
  // How many missing sequences this excuses.
  std::uint64_t excuse(const JournalRange& range);

  // The hole that was seen first, as a fault.
  std::optional<Fault> first_hole() const;
  std::map<Uuid, std::uint64_t> entries_by_producer() const;

 private:
  struct Place {
    std::uint64_t epoch = 0, sequence = 0;
  };
  struct Producer {
    Place last;
    Place before;  // the end of the epoch before `last`'s
    std::uint64_t entries = 0;
    bool begun_anywhere = false;
  };
  // Of the first sequence that is missing: producer, epoch, sequence.
  struct HoleKey {
    Uuid producer;
    std::uint64_t epoch = 0, first = 0;
    friend auto operator<=>(const HoleKey&, const HoleKey&) = default;
  };
  struct Hole {
    std::uint64_t last = 0;
    std::uint64_t index = 0;
  };

  std::optional<Fault> open_hole(std::uint64_t index, const JournalRange& range);
  std::optional<Fault> step_back(std::uint64_t index, const JournalRange& at, const Place& last) const;

  Limits limits_;
  Start start_;
  std::unordered_map<Uuid, Producer> producers_;
  std::map<HoleKey, Hole> holes_;
};

}  // namespace citadel::audit
