#include "cli/bench_support.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "base/file.hpp"
#include "local/programs.hpp"
#include "local/spawn.hpp"

namespace citadel::cli {
namespace {

constexpr auto load_ends_within = std::chrono::seconds(10);
constexpr auto servers_start_within = std::chrono::seconds(120);

pg::ConnectOptions as_role(const local::Endpoint& endpoint, std::string_view role, const Secret& password,
                           pg::Route route) {
  pg::ConnectOptions out;
  out.host = endpoint.host;
  out.port = endpoint.port;
  out.database = endpoint.database;
  out.user = role;
  out.password = password;
  out.tls = pg::TlsMode::disable;
  out.application_name = "citadel-bench";
  out.route = route;
  return out;
}

std::string_view sign_of(GoalKind kind) {
  switch (kind) {
    case GoalKind::ratio_at_least:
      return "ratio >=";
    case GoalKind::ratio_at_most:
      return "ratio <=";
    case GoalKind::ours_at_least:
      return "ours >=";
    case GoalKind::ours_below:
      return "ours <";
  }
  return "";
}

}  // namespace

std::optional<double> Metric::ratio() const {
  if (!yardstick || *yardstick <= 0) return std::nullopt;
  return ours / *yardstick;
}

std::string Metric::goal_text() const {
  return fmt::format("{} {}", sign_of(goal), limit);
}

bool Metric::met() const {
  const auto measured = ratio();
  switch (goal) {
    case GoalKind::ratio_at_least:
      return measured && *measured >= limit;
    case GoalKind::ratio_at_most:
      return measured && *measured <= limit;
    case GoalKind::ours_at_least:
      return ours >= limit;
    case GoalKind::ours_below:
      return ours < limit;
  }
  return false;
}

Result<std::unique_ptr<BenchFolder>> BenchFolder::make() {
  std::string path = (std::filesystem::temp_directory_path() / "citadel-bench-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) return fail_errno(errno, path);
  // The servers' user must get through to its own folders below.
  std::filesystem::permissions(path, std::filesystem::perms(0711));
  return std::unique_ptr<BenchFolder>(new BenchFolder(path, false));
}

Result<std::unique_ptr<BenchFolder>> BenchFolder::kept(std::filesystem::path path) {
  std::error_code error;
  path = std::filesystem::absolute(path);
  std::filesystem::create_directories(path, error);
  if (!error) std::filesystem::permissions(path, std::filesystem::perms(0711), error);
  if (error) return fail(Code::io_error, fmt::format("{}: {}", path.string(), error.message()));
  return std::unique_ptr<BenchFolder>(new BenchFolder(std::move(path), true));
}

BenchFolder::~BenchFolder() {
  if (kept_) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Result<std::uint16_t> free_port() {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (!socket || ::bind(socket.get(), raw, size) != 0 || ::getsockname(socket.get(), raw, &size) != 0)
    return fail_errno(errno, "finding a free port");
  return ntohs(address.sin_port);
}

Result<BenchServers> BenchServers::start(const Context& context, const std::filesystem::path& kept) {
  BenchServers out;
  CITADEL_ASSIGN(out.folder, kept.empty() ? BenchFolder::make() : BenchFolder::kept(kept));
  local::LocalOptions options;
  options.data = out.folder->path() / "data";
  CITADEL_ASSIGN(options.postgres_port, free_port());
  do {
    CITADEL_ASSIGN(options.pgpool_port, free_port());
  } while (options.pgpool_port == options.postgres_port);
  CITADEL_ASSIGN(out.servers,
                 local::LocalServers::start(options, Deadline::after(servers_start_within),
                                            [&](std::string_view step) { *context.err << step << '\n'; }));
  return out;
}

pg::ConnectOptions BenchServers::pooled() const {
  return as_role(servers->pooled(), local::app_role, servers->app_password(), pg::Route::pgpool);
}

pg::ConnectOptions BenchServers::direct() const {
  return as_role(servers->direct(), local::app_role, servers->app_password(), pg::Route::direct);
}

pg::ConnectOptions BenchServers::superuser() const {
  return as_role(servers->direct(), local::superuser_role, servers->superuser_password(), pg::Route::direct);
}

std::string BenchServers::conninfo(bool through_pgpool, std::string_view role) const {
  const auto endpoint = through_pgpool ? servers->pooled() : servers->direct();
  const auto& password = role == local::app_role ? servers->app_password() : servers->superuser_password();
  // A file, because arguments are for everybody to see.
  const auto file = folder->path() / fmt::format("pgpass-{}", role);
  if (!write_file_durably(file, fmt::format("*:*:*:*:{}\n", password.reveal()), 0600)) return "";
  return fmt::format("host={} port={} dbname={} user={} passfile={} sslmode=disable", endpoint.host,
                     endpoint.port, endpoint.database, role, file.string());
}

Result<app::Config> BenchServers::config() const {
  CITADEL_ASSIGN(auto config, app::parse_config("", "bench", {{}, {}, false}));
  config.local.data = folder->path();
  config.journal.folder = folder->path() / "journal";
  config.admin.key_file = folder->path() / "admin.key";
  config.access.pepper_file = folder->path() / "access.pepper";
  config.audit.enabled = false;
  config.audit.signing_key_file = folder->path() / "audit-signing.key";
  config.audit.master_key_file = folder->path() / "audit-master.key";
  config.audit.checkpoint_folder = folder->path() / "checkpoint";
  config.audit.journal_folder = folder->path() / "audit-journal";
  config.http.listen = {"127.0.0.1", 0};
  config.database.host = servers->pooled().host;
  config.database.port = servers->pooled().port;
  config.database.tls = app::TlsMode::disable;
  config.database.password_file = {servers->password_file(local::app_role), servers->app_password()};
  config.database_direct = {servers->direct().host, servers->direct().port, app::TlsMode::disable, {}};
  config.owner.user = local::owner_role;
  config.owner.password_file = {servers->password_file(local::owner_role), servers->owner_password()};
  return config;
}

Result<std::filesystem::path> find_client(std::string_view name, std::string_view package) {
  std::vector<std::filesystem::path> folders;
  if (const auto programs = local::find_programs({}, {}, std::nullopt))
    folders.push_back(programs->postgres.parent_path());
  for (const auto* folder : {"/usr/bin", "/usr/local/bin", "/usr/sbin"}) folders.emplace_back(folder);
  for (const auto& folder : folders) {
    const auto path = folder / name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return fail(
      Code::not_found,
      fmt::format("{} is not installed, and this bench measures against it; install Debian's package {}",
                  name, package));
}

Result<std::string> run_program(std::vector<std::string> arguments, std::chrono::seconds within) {
  return local::run({.arguments = std::move(arguments), .folder = "/"}, local::Account{}, "",
                    Deadline::after(within));
}

Result<LoadResult> run_load(const Load& load, const std::filesystem::path& folder) {
  CITADEL_ASSIGN(const auto program, find_client("wrk", "wrk"));
  const auto script = folder / "load.lua";
  CITADEL_TRY(write_file_durably(
      script,
      fmt::format("wrk.method = [==[{}]==]\nwrk.path = [==[{}]==]\nwrk.body = [==[{}]==]\n"
                  "wrk.headers['Authorization'] = [==[Bearer {}]==]\n"
                  "wrk.headers['Content-Type'] = 'application/x-ndjson'\n"
                  "{}"
                  "done = function(summary, latency)\n"
                  "  local e = summary.errors\n"
                  "  io.write(string.format('result %d %d %d %d\\n', summary.requests, summary.duration,\n"
                  "    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(99)))\n"
                  "end\n",
                  load.method, load.target, load.body, load.key,
                  load.pause.count() > 0
                      ? fmt::format("delay = function() return {} end\n", load.pause.count())
                      : ""),
      0600));
  CITADEL_ASSIGN(const auto output,
                 run_program({program.string(), "-t1", fmt::format("-c{}", load.connections),
                              fmt::format("-d{}s", load.seconds.count()), "-s", script.string(),
                              fmt::format("http://127.0.0.1:{}", load.port)},
                             load.seconds + load_ends_within));
  unsigned long long requests = 0, duration_us = 0, errors = 0, p99_us = 0;
  const auto at = output.find("result ");
  if (at == std::string::npos || std::sscanf(output.c_str() + at, "result %llu %llu %llu %llu", &requests,
                                             &duration_us, &errors, &p99_us) != 4)
    return fail(Code::internal, "wrk gave no result: " + output);
  if (errors != 0 || requests == 0 || duration_us == 0)
    return fail(Code::internal,
                fmt::format("{} of {} requests failed under wrk: {}", errors, requests, output));
  return LoadResult{static_cast<double>(requests), static_cast<double>(duration_us) / 1e6,
                    static_cast<double>(p99_us) / 1e3};
}

Result<UniqueFd> make_yardstick(const std::filesystem::path& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return fail_errno(errno, path.string());
  const std::string zeros(1 << 20, '\0');
  for (std::size_t at = 0; at < yardstick_bytes; at += zeros.size()) {
    if (::pwrite(file.get(), zeros.data(), zeros.size(), static_cast<off_t>(at)) < 0)
      return fail_errno(errno, path.string());
  }
  if (::fsync(file.get()) != 0) return fail_errno(errno, path.string());
  return file;
}

double percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

double median(std::vector<double> values) {
  return percentile(values, 0.5);
}

}  // namespace citadel::cli
