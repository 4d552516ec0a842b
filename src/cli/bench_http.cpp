// bench http: a constant answer behind a key, by our server on one thread and by nginx with one worker.
// bench authz: the authorisation subrequest, with ten thousand keys in memory, and nginx with the same answer
// as a constant.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <cmath>
#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>

#include "aio/runtime.hpp"
#include "app/access_gate.hpp"
#include "cli/bench_support.hpp"
#include "http/server.hpp"
#include "local/spawn.hpp"

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view constant_key = "0123456789abcdef0123456789abcdef01234567";
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

// What is asked, and who answers it how.
struct Scene {
  std::string target = "/";
  std::string key;
  http::Router router;
  http::Authenticator check;
  std::string nginx_answer;  // directives of the location, after the key was looked at
};

Scene constant_scene() {
  Scene scene;
  scene.key = constant_key;
  scene.router.add(http::Method::get, "/", {.waits = http::RouteOptions::Waits::no},
                   [](http::Request&) -> Task<http::Response> {
                     co_return http::Response::json(200, std::string(answer));
                   });
  scene.check = [](std::string_view shown, const http::Route&, http::Request& request) -> Result<void> {
    if (!Secret(std::string(constant_key)).equals(shown))
      return fail(Code::unauthenticated, "this key is not valid");
    request.principal = "bench";
    return {};
  };
  scene.nginx_answer = fmt::format("default_type application/json; return 200 '{}';", answer);
  return scene;
}

constexpr std::size_t keys_in_memory = 10'000;

Scene authorization_scene() {
  auto keyring = std::make_shared<access::Keyring>(
      access::Pepper(Secret("of this benchmark alone, as long as it must be")), system_clock(), 24h);
  std::vector<access::KeyRecord> records;
  Scene scene;
  scene.target = "/authz/v1/chat/completions";
  for (std::size_t i = 0; i < keys_in_memory; ++i) {
    const auto made = access::make_key();
    scene.key = made.text.reveal();
    records.push_back({.tenant_id = 2,
                       .tenant = "acme",
                       .principal = "app",
                       .role = access::Role::gateway,
                       .prefix = made.prefix,
                       .hash = keyring->pepper().hash(scene.key)});
  }
  const auto prefix = records.back().prefix;
  keyring->replace(keyring->begin_refresh(), system_clock().monotonic(), 1, false, std::move(records));
  scene.router.add(http::Method::get, "/authz/{path...}", {.waits = http::RouteOptions::Waits::no},
                   [keyring](http::Request& request) -> Task<http::Response> {
                     co_return app::let_through(*keyring, request);
                   });
  const Secret admin_key{"not shown by anybody in this benchmark"};
  scene.check = [keyring, admin_key](std::string_view shown, const http::Route& route,
                                     http::Request& request) {
    return app::let_in(admin_key, *keyring, shown, route, request);
  };
  scene.nginx_answer = fmt::format(
      "add_header X-Citadel-Tenant acme; add_header X-Citadel-Principal acme/app; add_header X-Citadel-Role "
      "gateway; "
      "add_header X-Citadel-Key {}; add_header Age 0; add_header Cache-Control no-store; return 200 '';",
      prefix);
  return scene;
}

class Ours {
 public:
  static Result<std::unique_ptr<Ours>> start(Scene& scene) {
    std::unique_ptr<Ours> ours(new Ours(scene));
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
  explicit Ours(Scene& scene)
      : server_({runtime_.executor(0)}, {.listen = "127.0.0.1:0"}, std::move(scene.router), scene.check) {}

  aio::Runtime runtime_{1};
  http::Server server_;
  bool started_ = false;
};

class Nginx {
 public:
  static Result<std::unique_ptr<Nginx>> start(const Scene& scene, const std::filesystem::path& folder) {
    CITADEL_ASSIGN(const auto program, find_client("nginx", "nginx-light"));
    std::unique_ptr<Nginx> out(new Nginx);
    CITADEL_ASSIGN(out->port_, free_port());
    const auto config = folder / "nginx.conf";
    CITADEL_TRY(write_file_durably(config, configuration(scene, folder, out->port_), 0600));
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
  static std::string configuration(const Scene& scene, const std::filesystem::path& folder,
                                   std::uint16_t port) {
    std::string paths;
    for (const auto* what : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      paths += fmt::format("  {}_temp_path {}/{};\n", what, folder.string(), what);
    return fmt::format(
        "daemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/nginx.log;\n"
        "events {{ worker_connections 1024; }}\n"
        "http {{\n{1}  access_log off;\n  keepalive_requests 1000000000;\n"
        "  server {{\n    listen 127.0.0.1:{2};\n    location / {{\n"
        "      if ($http_authorization != \"Bearer {3}\") {{ return 401; }}\n      {4}\n"
        "    }}\n  }}\n}}\n",
        folder.string(), paths, port, scene.key, scene.nginx_answer);
  }

  local::Child child_;
  std::uint16_t port_ = 0;
};

Result<void> wait_for_port(const Scene& scene, std::uint16_t port, Deadline deadline,
                           const std::filesystem::path& folder) {
  for (;;) {
    auto tried = run_load(
        {.port = port, .target = scene.target, .key = scene.key, .connections = 1, .seconds = 1s}, folder);
    if (tried) return {};
    if (deadline.expired()) return std::unexpected(std::move(tried).error().in("waiting for nginx"));
  }
}

struct Series {
  std::vector<double> per_second, per_cpu_second;

  template <class Cpu>
  Result<void> add(const Scene& scene, std::uint16_t port, const std::filesystem::path& folder,
                   std::chrono::seconds seconds, Cpu cpu) {
    const double before = cpu();
    CITADEL_ASSIGN(
        const auto load,
        run_load({.port = port, .target = scene.target, .key = scene.key, .seconds = seconds}, folder));
    const double used = cpu() - before;
    if (used <= 0) return fail(Code::internal, "the server's CPU time cannot be read from /proc");
    per_second.push_back(load.requests / load.seconds);
    per_cpu_second.push_back(load.requests / used);
    return {};
  }
};

Result<Metrics> against_nginx(const Context& context, const BenchOptions& options, Scene scene,
                              bool half_load) {
  CITADEL_ASSIGN(const auto folder, BenchFolder::make());
  CITADEL_ASSIGN(const auto nginx, Nginx::start(scene, folder->path()));
  CITADEL_TRY(wait_for_port(scene, nginx->port(), Deadline::after(starts_within), folder->path()));
  CITADEL_ASSIGN(const auto ours, Ours::start(scene));
  Series our_series, their_series;
  for (int round = 1; round <= options.rounds; ++round) {
    *context.err << fmt::format("round {} of {}\n", round, options.rounds);
    CITADEL_TRY(our_series.add(scene, ours->port(), folder->path(), options.seconds, cpu_seconds_of_us));
    CITADEL_TRY(their_series.add(scene, nginx->port(), folder->path(), options.seconds,
                                 [&] { return cpu_seconds_of(nginx->pid()); }));
  }
  const std::string yardstick = "nginx, one process, the same body and key check, by wrk on 64 connections";
  Metrics out{{"requests_per_cpu_second", "requests/s", median(our_series.per_cpu_second),
               median(their_series.per_cpu_second), yardstick, GoalKind::ratio_at_least, 0.5},
              {"requests_per_second", "requests/s", median(our_series.per_second),
               median(their_series.per_second), yardstick, GoalKind::ratio_at_least, 0.5}};
  if (!half_load) return out;
  // Connections that pause after each answer for as long as makes half of the requests that were reached.
  Load load{.target = scene.target, .key = scene.key, .connections = 256, .seconds = options.seconds};
  load.pause = std::chrono::milliseconds(
      std::llround(2 * 1000 * static_cast<double>(load.connections) / median(our_series.per_second)));
  load.port = ours->port();
  CITADEL_ASSIGN(const auto at_half, run_load(load, folder->path()));
  load.port = nginx->port();
  CITADEL_ASSIGN(const auto theirs, run_load(load, folder->path()));
  *context.err << fmt::format("half load: {:.0f} of {:.0f} requests/s\n", at_half.requests / at_half.seconds,
                              median(our_series.per_second));
  out.push_back({"p99_at_half_load", "ms", at_half.p99_ms, theirs.p99_ms,
                 "nginx with the same pauses, 256 connections", GoalKind::ours_below, 1.0});
  return out;
}

}  // namespace

Result<Metrics> bench_http(const Context& context, const BenchOptions& options) {
  return against_nginx(context, options, constant_scene(), false);
}

Result<Metrics> bench_authz(const Context& context, const BenchOptions& options) {
  return against_nginx(context, options, authorization_scene(), true);
}

}  // namespace citadel::cli
