#include "local/config.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::local {
namespace {

constexpr std::uint64_t mib = 1024 * 1024;
// Parallel queries need it; containers often give 64 MiB.
constexpr std::uint64_t shared_memory_bytes_min = 256 * mib;

std::uint64_t shared_buffers_mib(std::uint64_t memory_bytes) {
  return std::clamp<std::uint64_t>(memory_bytes / 8 / mib, 128, 2048);
}

// Pgpool-II's control port is a Unix socket beside the others, so its number must not be theirs.
std::uint16_t control_port(const ConfigInput& input) {
  std::uint16_t port = 9898;
  while (port == input.postgres_port || port == input.pgpool_port) ++port;
  return port;
}

}  // namespace

std::string quote(std::string_view value) {
  std::string out = "'";
  for (const char c : value) {
    out += c;
    if (c == '\'') out += c;
  }
  return out + "'";
}

unsigned max_connections(unsigned pgpool_children) {
  return std::max(max_connections_min, 2 * pgpool_children + direct_connections + superuser_connections);
}

std::string postgresql_conf(const ConfigInput& input) {
  const bool little_shared_memory = input.shared_memory_bytes < shared_memory_bytes_min;
  return fmt::format(
      R"(# Written by Citadel at each start; changes here are lost. Your own settings belong into
# {extra_plain}, which is read last.
listen_addresses = {host}
port = {port}
unix_socket_directories = {sockets}
unix_socket_permissions = 0700
hba_file = 'citadel_hba.conf'

max_connections = {connections}
superuser_reserved_connections = {reserved}
password_encryption = 'scram-sha-256'
tcp_keepalives_idle = 60
tcp_keepalives_interval = 10
tcp_keepalives_count = 6

shared_buffers = {buffers}MB
effective_cache_size = {cache}MB
maintenance_work_mem = 128MB
dynamic_shared_memory_type = {dynamic}
max_wal_size = 2GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
effective_io_concurrency = 64
# Compiling a query costs more than the short ones take.
jit = off

timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d %a '
log_min_duration_statement = 1s
# Parameters hold the callers' data, which has no place in a log.
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_lock_waits = on
log_checkpoints = off
fsync = {durable}
full_page_writes = {durable}
{settings}
include_if_exists = {extra}
)",
      fmt::arg("extra_plain", input.extra_settings.string()), fmt::arg("host", quote(input.host)),
      fmt::arg("port", input.postgres_port), fmt::arg("sockets", quote(input.socket_folder.string())),
      fmt::arg("connections", max_connections(input.pgpool_children)),
      fmt::arg("reserved", superuser_connections),
      fmt::arg("buffers", shared_buffers_mib(input.memory_bytes)),
      fmt::arg("cache", std::max<std::uint64_t>(input.memory_bytes / 2 / mib, 256)),
      fmt::arg("dynamic", little_shared_memory ? "mmap" : "posix"),
      fmt::arg("durable", input.durability == Durability::full ? "on" : "off"),
      fmt::arg("settings", input.settings), fmt::arg("extra", quote(input.extra_settings.string())));
}

std::string pg_hba_conf() {
  return R"(# Written by Citadel at each start. Whoever gets to a socket still needs a password.
local   all          all  scram-sha-256
host    all          all  127.0.0.1/32  scram-sha-256
host    all          all  ::1/128       scram-sha-256
host    all          all  samehost      scram-sha-256
local   replication  all  scram-sha-256
)";
}

std::string pgpool_conf(const ConfigInput& input) {
  const auto sockets = quote(input.socket_folder.string());
  return fmt::format(
      R"(# Written by Citadel at each start; changes here are lost. Why each value: docs/connection-pooling.md.
# With any other mode, errors in the middle of a pipeline commit what came before them.
backend_clustering_mode = 'streaming_replication'
listen_addresses = {host}
port = {port}
socket_dir = {sockets}
pcp_listen_addresses = ''
pcp_port = {control_port}
pcp_socket_dir = {sockets}
pid_file_name = {pid_file}
logdir = {folder}

backend_hostname0 = {sockets}
backend_port0 = {postgres_port}
backend_weight0 = 1
# The one server is the primary, whatever a health check thinks, and is never given up.
backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
# Both compile to on; then one killed backend counts as a dead server.
failover_on_backend_error = off
failover_on_backend_shutdown = off
health_check_period = 0
sr_check_period = 0

# One process a client; a client beyond them waits in the listen queue. A cancel needs a free one too.
num_init_children = {children}
max_pool = 1
# With 1, each refusal leaks a descriptor.
reserved_connections = 0
child_life_time = 0
connection_life_time = 0
client_idle_limit = 0
listen_backlog_multiplier = 4

enable_pool_hba = on
pool_passwd = {pool_passwd}
allow_clear_text_frontend_auth = off
authentication_timeout = 30

load_balance_mode = off
# Read only to route to standbys, at the price of a catalog query for each new table of a session.
check_temp_table = 'none'
check_unlogged_table = off
# Stale reads, and CVE-2024-45624.
memory_cache_enabled = off
enable_shared_relcache = off
memqcache_total_size = 2MB
memqcache_max_num_cache = 1000

log_destination = 'stderr'
log_line_prefix = '%t [%p] '
log_connections = off
log_min_messages = warning
)",
      fmt::arg("host", quote(input.host)), fmt::arg("port", input.pgpool_port), fmt::arg("sockets", sockets),
      fmt::arg("control_port", control_port(input)),
      fmt::arg("pid_file", quote((input.pgpool_folder / "pgpool.pid").string())),
      fmt::arg("folder", quote(input.pgpool_folder.string())), fmt::arg("postgres_port", input.postgres_port),
      fmt::arg("children", input.pgpool_children),
      fmt::arg("pool_passwd", quote((input.pgpool_folder / "pool_passwd").string())));
}

std::string pool_hba_conf() {
  return R"(# Written by Citadel at each start.
local  all  all                scram-sha-256
host   all  all  127.0.0.1/32  scram-sha-256
host   all  all  ::1/128       scram-sha-256
host   all  all  samehost      scram-sha-256
)";
}

std::string pool_passwd(const Secret& owner, const Secret& app) {
  // Pgpool-II answers the backend's SCRAM challenge for the client, so it needs the password itself.
  return fmt::format("{}:TEXT{}\n{}:TEXT{}\n", owner_role, owner.reveal(), app_role, app.reveal());
}

std::string bootstrap_sql(const Verifiers& verifiers) {
  return fmt::format(R"(ALTER ROLE {superuser} PASSWORD {superuser_password};

CREATE ROLE {owner} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {owner_password};

CREATE ROLE {app} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {app_password};

ALTER ROLE {app} SET statement_timeout = '30s';

ALTER ROLE {app} SET lock_timeout = '10s';

ALTER ROLE {app} SET idle_in_transaction_session_timeout = '30s';

ALTER ROLE {owner} SET lock_timeout = '30s';

CREATE DATABASE {database} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0;

REVOKE ALL ON DATABASE {database} FROM PUBLIC;

GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app};

)",
                     fmt::arg("superuser", superuser_role),
                     fmt::arg("superuser_password", quote(verifiers.superuser)),
                     fmt::arg("owner", owner_role), fmt::arg("owner_password", quote(verifiers.owner)),
                     fmt::arg("app", app_role), fmt::arg("app_password", quote(verifiers.app)),
                     fmt::arg("database", database_name));
}

}  // namespace citadel::local
