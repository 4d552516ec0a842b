#include "support/servers.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "local/supervisor.hpp"
#include "support/first_start.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"

namespace citadel::support {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 60s;  // for machines that run ten test programs at once

[[noreturn]] void give_up(std::string_view what, std::string_view why) {
  std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(what.size()), what.data(),
               static_cast<int>(why.size()), why.data());
  std::abort();
}

std::string run_psql(const local::Endpoint& at, std::string_view role, const Secret& password,
                     std::string_view statements) {
  const auto ended = run_process(
      {"psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", at.host, "-p",
       fmt::format("{}", at.port), "-U", std::string(role), "-d", at.database},
      statements, Deadline::after(patience), {.environment = {{"PGPASSWORD", password.reveal()}}});
  if (ended.status != 0) give_up(fmt::format("psql failed on: {}", statements), ended.err);
  auto out = ended.out;
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

std::unique_ptr<local::LocalServers> start(const std::filesystem::path& data, const ServersOptions& options) {
  auto started =
      local::LocalServers::start({.data = data,
                                  .postgres_port = reserve_port(),
                                  .pgpool_port = reserve_port(),
                                  .pgpool_children = options.pgpool_children,
                                  .postgres_settings = "shared_buffers = 128MB\n" + options.postgres_settings,
                                  .durability = local::Durability::none},
                                 Deadline::after(patience));
  if (!started) {
    give_up("the test's servers do not start", started.error().to_string() + "\n" +
                                                   local::log_tail(data / "log/postgres.log") +
                                                   local::log_tail(data / "log/pgpool.log"));
  }
  return std::move(*started);
}

void start_once(const std::filesystem::path& data) {
  const auto stopped = start(data, {.pgpool_children = 1})->stop(Deadline::after(patience));
  if (!stopped) give_up("the test's servers do not stop", stopped.error().to_string());
}

}  // namespace

Servers::Servers(const ServersOptions& options) : folder_("servers") {
  copy_first_start(folder_, start_once);
  servers_ = start(folder_, options);
}

Servers::~Servers() = default;

std::string Servers::sql(std::string_view statements) const {
  return run_psql(servers_->direct(), local::owner_role, servers_->owner_password(), statements);
}

std::string Servers::sql_as_superuser(std::string_view statements) const {
  return run_psql(servers_->direct(), local::superuser_role, servers_->superuser_password(), statements);
}

std::string Servers::sql_pooled(std::string_view statements) const {
  return run_psql(servers_->pooled(), local::app_role, servers_->app_password(), statements);
}

std::string Servers::new_database(std::string_view prefix, std::string_view original) {
  static std::atomic<unsigned> count = 0;
  auto name = fmt::format("{}_{}", prefix, ++count);
  sql_as_superuser(
      fmt::format("CREATE DATABASE {} OWNER {} TEMPLATE {};", name, local::owner_role, original));
  return name;
}

Servers& shared_servers() {
  static Servers servers;
  return servers;
}

}  // namespace citadel::support
