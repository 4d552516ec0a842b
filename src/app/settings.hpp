// From the configuration to the options of each room: the one place where the two are matched. Pure.
#pragma once
#include "app/config.hpp"
#include "audit/event.hpp"
#include "drain/drain.hpp"
#include "http/server.hpp"
#include "journal/journal.hpp"
#include "pg/connection.hpp"
#include "store/database.hpp"

namespace citadel::app {

pg::ConnectOptions connect_options(const Config& config);
// Past Pgpool-II, as the daemon's role; nullopt where database.direct.host is empty.
std::optional<pg::ConnectOptions> direct_options(const Config& config);
// Past Pgpool-II, as the schemas' owner, for migrations; invalid_argument names the key that is missing.
Result<pg::ConnectOptions> owner_options(const Config& config);

store::Options database_options(const Config& config);
journal::Options journal_options(const Config& config);
drain::Options drain_options(const Config& config);
journal::Options audit_journal_options(const Config& config);
drain::Options audit_drain_options(const Config& config);
audit::EventLimits event_limits(const Config& config);
http::ServerOptions server_options(const Config& config);
// What the process needs of descriptors for all of it at once: connections, sessions, the journal's files and
// its own.
std::size_t descriptors_wanted(const Config& config);
// http.connections_max, or as many as `descriptors` leave beside the sessions and the journal; at least 1.
std::size_t connections_that_fit(const Config& config, std::size_t descriptors);

// Pgpool-II's num_init_children for a pool of `size_max` sessions: a fifth more, at least one. A child serves
// one client for its whole session, and a cancel needs a free one.
std::int64_t pgpool_children(std::int64_t size_max);

// runtime.threads, or one for each core, at most 8.
std::size_t thread_count(const Config& config);

}  // namespace citadel::app
