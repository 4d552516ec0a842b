// UsageSink: request records from the journal into usage.request, its rollups, and nowhere twice.
//
// A record whose id is there with the same content is a repeat and is dropped; with other content it is kept
// in usage.request_conflict and counted in no sum. A frame that cannot be read is kept in
// citadel.dead_letter. Rollups are upserted in key order, minute, hour, day, so that several daemons wait for
// each other instead of deadlocking.
//
// prepare() makes partitions and dictionary entries in transactions of its own, so that DDL and its locks
// stay out of the batch. What it remembers of them is only what was committed; should the database have lost
// it all the same (a failover that lost commits, a restore), write() forgets it and fails with `unavailable`,
// and the next attempt makes it anew.
#pragma once
#include <memory>

#include "drain/sink.hpp"

namespace citadel::usage {

std::unique_ptr<drain::Sink> make_usage_sink();

}  // namespace citadel::usage
