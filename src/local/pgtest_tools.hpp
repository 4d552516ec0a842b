// For this room's tests with real servers.
#pragma once
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <thread>

#include "local/account.hpp"
#include "local/leftovers.hpp"
#include "local/local.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/temp_folder.hpp"

namespace citadel::local {

using namespace std::chrono_literals;

inline constexpr auto patience = 60s;

// Asks again until it is so: for what other processes do in their own time.
inline bool eventually(const std::function<bool()>& condition, Monotonic::duration within = 30s) {
  for (const auto deadline = Deadline::after(within); !deadline.expired();) {
    if (condition()) return true;
    std::this_thread::sleep_for(20ms);  // sleep: polls, until a deadline
  }
  return condition();
}

inline LocalOptions options_for(const std::filesystem::path& data) {
  return {.data = data,
          .postgres_port = support::reserve_port(),
          .pgpool_port = support::reserve_port(),
          .pgpool_children = 8,
          .postgres_settings = "shared_buffers = 16MB",
          .durability = Durability::none};
}

inline Result<std::unique_ptr<LocalServers>> start(const LocalOptions& options) {
  return LocalServers::start(options, Deadline::after(patience));
}

inline support::Ended psql(const Endpoint& at, std::string_view role, const Secret& password,
                           std::string_view sql) {
  return support::run_process(
      {"psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", at.host, "-p",
       fmt::format("{}", at.port), "-U", std::string(role), "-d", at.database, "-c", std::string(sql)},
      "", Deadline::after(10s),
      {.environment = {{"PGPASSWORD", password.reveal()}, {"PGCONNECT_TIMEOUT", "5"}}});
}

inline bool both_serve(const LocalServers& servers) {
  return psql(servers.direct(), app_role, servers.app_password(), "select 1").out == "1\n" &&
         psql(servers.pooled(), app_role, servers.app_password(), "select 1").out == "1\n";
}

inline std::size_t count_processes(const std::filesystem::path& data) {
  const auto account = choose_account("");
  return find_processes(data / "postgres", "postgres", *account).size() +
         find_processes(data / "pgpool", "pgpool", *account).size();
}

}  // namespace citadel::local
