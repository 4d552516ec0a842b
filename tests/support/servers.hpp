// Real servers for tests: a PostgreSQL and a Pgpool-II of our own in a temporary folder, on reserved ports,
// fsync off. They begin from a copy of what their first start made (first_start.hpp).
//
//   auto& servers = support::shared_servers();      // one pair a test program, started at the first call
//   servers->pooled().port                          // Pgpool-II; direct() is PostgreSQL itself
//   support::Servers own({.pgpool_children = 4});   // one's own, for a test that kills
//   own->kill(local::Server::postgres, SIGKILL);
//
// Where they cannot start, the test program says why, with the tails of their logs, and aborts.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "local/local.hpp"
#include "support/temp_folder.hpp"

namespace citadel::support {

struct ServersOptions {
  unsigned pgpool_children = 120;
  std::string postgres_settings = {};  // lines of postgresql.conf
};

class Servers {
 public:
  explicit Servers(const ServersOptions& options = {});
  ~Servers();
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;

  local::LocalServers& operator*() { return *servers_; }
  local::LocalServers* operator->() { return servers_.get(); }
  const std::filesystem::path& data() const { return folder_.path(); }

  // Runs SQL by psql (a program of its own, so a test of our client does not test itself) and gives its
  // output: one line a row, fields separated by '|'. Aborts the test program when psql fails.
  std::string sql(std::string_view statements) const;  // citadel_owner, directly
  std::string sql_as_superuser(std::string_view statements) const;
  std::string sql_pooled(std::string_view statements) const;  // citadel_app, through Pgpool-II
  // A fresh database owned by citadel_owner, for a test that must not see another's rows; a copy of the
  // database `original`, to which nobody is connected, where that is named.
  std::string new_database(std::string_view prefix = "test", std::string_view original = "template1");

 private:
  TempFolder folder_;
  std::unique_ptr<local::LocalServers> servers_;
};

// Stopped when the program ends.
Servers& shared_servers();

}  // namespace citadel::support
