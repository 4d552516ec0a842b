// bench http: a constant answer behind a key, by our server on one thread and by nginx with one worker.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>

#include "aio/runtime.hpp"
#include "cli/bench_support.hpp"
#include "http/server.hpp"
#include "local/spawn.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view key = "0123456789abcdef0123456789abcdef01234567";
constexpr std::string_view answer = R"({"status":"ok"})";
constexpr auto starts_within = 10s;

double cpu_seconds_of_us() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// utime and stime of proc(5), the 14th and 15th field; the name before them may hold anything but ')'.
double cpu_seconds_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = text.rfind(')');
  unsigned long user = 0, system = 0;
  if (name_end == std::string::npos ||
      std::sscanf(text.c_str() + name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                  &system) != 2)
    return 0;
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

class Ours {
 public:
  static Result<std::unique_ptr<Ours>> start() {
    std::unique_ptr<Ours> ours(new Ours);
    CITADEL_TRY(ours->server_.start());
    ours->started_ = true;
    return ours;
  }
  ~Ours() {
    if (!started_) return;
    static_cast<void>(
        asio::co_spawn(runtime_.executor(0), server_.stop(Deadline::after(5s)), asio::use_future).get());
  }
  std::uint16_t port() const { return server_.port(); }

 private:
  Ours() : server_({runtime_.executor(0)}, {.listen = "127.0.0.1:0"}, make_router(), check) {}
  static http::Router make_router() {
    http::Router router;
    router.add(http::Method::get, "/", {.waits = http::RouteOptions::Waits::no},
               [](http::Request&) -> Task<http::Response> {
                 co_return http::Response::json(200, std::string(answer));
               });
    return router;
  }
  static Result<void> check(std::string_view shown, const http::Route&, http::Request& request) {
    if (!Secret(std::string(key)).equals(shown)) return fail(Code::unauthenticated, "this key is not valid");
    request.principal = "bench";
    return {};
  }

  aio::Runtime runtime_{1};
  http::Server server_;
  bool started_ = false;
};

class Nginx {
 public:
  static Result<std::unique_ptr<Nginx>> start(const std::filesystem::path& folder) {
    CITADEL_ASSIGN(const auto program, find_client("nginx", "nginx-light"));
    std::unique_ptr<Nginx> out(new Nginx);
    CITADEL_ASSIGN(out->port_, free_port());
    const auto config = folder / "nginx.conf";
    CITADEL_TRY(write_file_durably(config, configuration(folder, out->port_), 0600));
    CITADEL_ASSIGN(out->child_,
                   local::spawn({.arguments = {program.string(), "-p", folder.string(), "-e",
                                               (folder / "nginx.log").string(), "-c", config.string()},
                                 .folder = folder,
                                 .death_signal = SIGKILL},
                                local::Account{}, -1, STDERR_FILENO));
    return out;
  }
  ~Nginx() {
    if (child_.pid < 0) return;
    ::kill(child_.pid, SIGKILL);
    ::waitpid(child_.pid, nullptr, 0);
  }
  std::uint16_t port() const { return port_; }
  pid_t pid() const { return child_.pid; }

 private:
  Nginx() = default;
  // One process, so that its CPU time is the server's.
  static std::string configuration(const std::filesystem::path& folder, std::uint16_t port) {
    std::string paths;
    for (const auto* what : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      paths += fmt::format("  {}_temp_path {}/{};\n", what, folder.string(), what);
    return fmt::format(
        "daemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/nginx.log;\n"
        "events {{ worker_connections 1024; }}\n"
        "http {{\n{1}  access_log off;\n  keepalive_requests 1000000000;\n"
        "  server {{\n    listen 127.0.0.1:{2};\n    location / {{\n      default_type application/json;\n"
        "      if ($http_authorization != \"Bearer {3}\") {{ return 401; }}\n      return 200 '{4}';\n"
        "    }}\n  }}\n}}\n",
        folder.string(), paths, port, key, answer);
  }

  local::Child child_;
  std::uint16_t port_ = 0;
};

Result<void> wait_for_port(std::uint16_t port, Deadline deadline, const std::filesystem::path& folder) {
  for (;;) {
    auto tried = run_load(
        {.port = port, .key = std::string(key), .connections = 1, .seconds = std::chrono::seconds(1)},
        folder);
    if (tried) return {};
    if (deadline.expired()) return std::unexpected(std::move(tried).error().in("waiting for nginx"));
  }
}

struct Series {
  std::vector<double> per_second, per_cpu_second;

  template <class Cpu>
  Result<void> add(std::uint16_t port, const std::filesystem::path& folder, std::chrono::seconds seconds,
                   Cpu cpu) {
    const double before = cpu();
    CITADEL_ASSIGN(const auto load,
                   run_load({.port = port, .key = std::string(key), .seconds = seconds}, folder));
    const double used = cpu() - before;
    if (used <= 0) return fail(Code::internal, "the server's CPU time cannot be read from /proc");
    per_second.push_back(load.requests / load.seconds);
    per_cpu_second.push_back(load.requests / used);
    return {};
  }
};

}  // namespace

Result<Metrics> bench_http(const Context& context, const BenchOptions& options) {
  CITADEL_ASSIGN(const auto folder, BenchFolder::make());
  CITADEL_ASSIGN(const auto nginx, Nginx::start(folder->path()));
  CITADEL_TRY(wait_for_port(nginx->port(), Deadline::after(starts_within), folder->path()));
  CITADEL_ASSIGN(const auto ours, Ours::start());
  Series our_series, their_series;
  for (int round = 1; round <= options.rounds; ++round) {
    *context.err << fmt::format("round {} of {}\n", round, options.rounds);
    CITADEL_TRY(our_series.add(ours->port(), folder->path(), options.seconds, cpu_seconds_of_us));
    CITADEL_TRY(their_series.add(nginx->port(), folder->path(), options.seconds,
                                 [&] { return cpu_seconds_of(nginx->pid()); }));
  }
  const std::string yardstick = "nginx, one process, the same body and key check, by wrk on 64 connections";
  return Metrics{{"requests_per_cpu_second", "requests/s", median(our_series.per_cpu_second),
                  median(their_series.per_cpu_second), yardstick, GoalKind::ratio_at_least, 0.5},
                 {"requests_per_second", "requests/s", median(our_series.per_second),
                  median(their_series.per_second), yardstick, GoalKind::ratio_at_least, 0.5}};
}

}  // namespace citadel::cli
