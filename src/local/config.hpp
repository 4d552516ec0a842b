// Config: the text of every file that the two servers read. Pure: the same input gives the same text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/secret.hpp"
#include "local/local.hpp"

namespace citadel::local {

struct ConfigInput {
  std::filesystem::path pgpool_folder;  // pool_passwd, pid file
  std::filesystem::path socket_folder;
  std::filesystem::path extra_settings;  // the operator's file; included where it exists
  std::string host;
  std::uint16_t postgres_port = 0;
  std::uint16_t pgpool_port = 0;
  unsigned pgpool_children = 0;
  std::uint64_t memory_bytes = 0;         // of the machine
  std::uint64_t shared_memory_bytes = 0;  // free in /dev/shm
  Durability durability = Durability::full;
  std::string settings;  // further lines for PostgreSQL
};

// Connections for people, migrations, LISTEN and cancels, beside Pgpool-II's.
inline constexpr unsigned direct_connections = 40;
inline constexpr unsigned superuser_connections = 5;
inline constexpr unsigned max_connections_min = 150;

// Pgpool-II opens at most one backend for each child, and one more while it cancels for it.
unsigned max_connections(unsigned pgpool_children);

std::string postgresql_conf(const ConfigInput& input);
std::string pg_hba_conf();
std::string pgpool_conf(const ConfigInput& input);
std::string pool_hba_conf();
std::string pool_passwd(const Secret& owner, const Secret& app);

// What PostgreSQL keeps of the roles' passwords, as crypto/scram.hpp makes it.
struct Verifiers {
  std::string superuser, owner, app;
};

// Statements for PostgreSQL's single-user mode with -j: each ends in a semicolon and an empty line. No
// password is in them.
std::string bootstrap_sql(const Verifiers& verifiers);

// A value between single quotes for either configuration, quotes doubled.
std::string quote(std::string_view value);

}  // namespace citadel::local
