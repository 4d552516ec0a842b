// For tests: a database that has all migrations.
#pragma once
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>

#include "aio/run.hpp"
#include "store/migrations.hpp"
#include "support/servers.hpp"

namespace citadel::store {

// A fresh one, owned by citadel_owner. The migrations run once for each pair of servers; every further
// database is a copy of what they made, in a fraction of the time. Throws where they fail, which ends the
// test.
inline std::string migrated_database(support::Servers& servers) {
  static std::map<std::filesystem::path, std::string> originals;
  auto& original = originals[servers.data()];
  if (original.empty()) {
    auto name = servers.new_database("migrated");
    pg::ConnectOptions owner;
    owner.host = servers->direct().host;
    owner.port = servers->direct().port;
    owner.database = name;
    owner.user = local::owner_role;
    owner.password = servers->owner_password();
    owner.route = pg::Route::direct;
    asio::io_context context{1};
    const auto deadline = Deadline::after(std::chrono::seconds(60));
    const auto connection =
        aio::run(context, pg::Connection::connect(context.get_executor(), owner, deadline));
    if (!connection) throw std::runtime_error(connection.error().to_string());
    const auto migrated = aio::run(context, migrate(**connection, embedded_migrations(), deadline, {}));
    if (!migrated) throw std::runtime_error(migrated.error().to_string());
    original = std::move(name);
  }
  return servers.new_database("test", original);
}

}  // namespace citadel::store
