// RequestReader: single records by id, coalesced. Reads that are asked for at the same time become one query
// a month (store/point_reader.hpp); each caller has its own record, not_found, or error.
//
//   RequestReader reader(database, gate);
//   auto record = co_await reader.read(id, deadline);   // Result<RequestRecord>
//
// The bounds of the month stand in the statement's text, so that it opens one partition (usage/months.hpp); a
// reader is kept for each month that was asked for lately, readers_max of them. Beyond that, where all of
// them are at work, a read goes out alone.
//
// All calls on the database's executor.
#pragma once
#include <map>
#include <memory>

#include "aio/gate.hpp"
#include "store/point_reader.hpp"
#include "usage/record.hpp"

namespace citadel::usage {

class RequestReader {
 public:
  static constexpr std::size_t readers_max = 64;
  // A query that hangs holds up the reads of its month that came with it, and no others, while fewer hang.
  static constexpr store::PointReaderOptions limits{
      .batch_max = 100, .in_flight_max = 8, .queue_max = 10'000};

  // `database` and `gate` outlive this; the gate is closed before it goes.
  RequestReader(store::Database& database, aio::Gate& gate);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;

  // not_found where no record has the id.
  Task<Result<RequestRecord>> read(Uuid id, Deadline deadline);

  // Of all months together.
  store::PointReaderStatus status() const;

 private:
  struct Month;
  std::shared_ptr<Month> month_of(const Uuid& id);

  store::Database& database_;
  aio::Gate& gate_;
  std::map<Uuid, std::shared_ptr<Month>> months_;  // by their first id
  store::PointReaderStatus ended_;                 // of months that are not kept any more
};

}  // namespace citadel::usage
