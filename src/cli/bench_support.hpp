// What every bench shares: private servers in a folder of their own, the report, and running the yardsticks.
//
// A bench is one function that measures ours and its yardstick in the same run, and gives its metrics.
#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/config.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/context.hpp"
#include "local/local.hpp"
#include "pg/connection.hpp"

namespace citadel::cli {

enum class GoalKind : std::uint8_t { ratio_at_least, ratio_at_most, ours_at_least, ours_below };

struct Metric {
  std::string name;
  std::string unit;
  double ours = 0;
  std::optional<double> yardstick;  // nullopt: the goal is absolute
  std::string yardstick_name;
  GoalKind goal = GoalKind::ratio_at_least;
  double limit = 0;

  std::optional<double> ratio() const;
  std::string goal_text() const;  // "ratio >= 1.2"
  bool met() const;
};
using Metrics = std::vector<Metric>;

struct BenchOptions {
  std::chrono::seconds seconds{5};  // of each measurement
  int rounds = 3;                   // of ours and its yardstick, one after the other; their medians count
  std::size_t rows = 100'000;       // of what is filled first, where a bench does
  std::filesystem::path data = {};  // of audit-scale's servers, kept for the next run; empty: a temporary one
};

// A folder under the system's temporary one, removed with this object; or one that is kept.
class BenchFolder {
 public:
  static Result<std::unique_ptr<BenchFolder>> make();
  static Result<std::unique_ptr<BenchFolder>> kept(std::filesystem::path path);
  ~BenchFolder();
  BenchFolder(const BenchFolder&) = delete;
  BenchFolder& operator=(const BenchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  BenchFolder(std::filesystem::path path, bool kept) : path_(std::move(path)), kept_(kept) {}
  std::filesystem::path path_;
  bool kept_;
};

// Private servers on free ports, stopped with this object, and removed unless they are in a kept folder.
struct BenchServers {
  std::unique_ptr<BenchFolder> folder;  // goes last
  std::unique_ptr<local::LocalServers> servers;
  static Result<BenchServers> start(const Context& context, const std::filesystem::path& kept = {});

  pg::ConnectOptions pooled() const;                                       // citadel_app through Pgpool-II
  pg::ConnectOptions direct() const;                                       // citadel_app past it
  pg::ConnectOptions superuser() const;                                    // past it
  std::string conninfo(bool through_pgpool, std::string_view role) const;  // for pgbench and psql
  // The daemon's configuration on these servers, its data in the folder.
  Result<app::Config> config() const;
};

Result<std::uint16_t> free_port();

// A PostgreSQL client program: beside the server's, else on PATH. not_found names `package`.
Result<std::filesystem::path> find_client(std::string_view name, std::string_view package);
// Its output. The program ends by the deadline.
Result<std::string> run_program(std::vector<std::string> arguments, std::chrono::seconds within);

// What wrk, a load generator of its own process and thread, got from a server on loopback.
struct LoadResult {
  double requests = 0, seconds = 0;
  double p99_ms = 0;
};
struct Load {
  std::uint16_t port = 0;
  std::string method = "GET", target = "/", body = {};
  std::string key;  // sent as Authorization: Bearer
  std::size_t connections = 64;
  std::chrono::seconds seconds{5};
  std::chrono::milliseconds pause{0};  // of each connection, after each answer
};
// `folder` takes wrk's script, which holds the key. An answer other than 2xx, or a broken connection, is an
// error.
Result<LoadResult> run_load(const Load& load, const std::filesystem::path& folder);

// The yardstick of what is synced one by one: a file written whole beforehand, as the journal's segments are.
inline constexpr std::size_t yardstick_bytes = 64 << 20;
Result<UniqueFd> make_yardstick(const std::filesystem::path& path);

double median(std::vector<double> values);
double percentile(std::vector<double>& values, double share);  // sorts them

Result<Metrics> bench_sql(const Context& context, const BenchOptions& options);
Result<Metrics> bench_pool(const Context& context, const BenchOptions& options);
Result<Metrics> bench_journal(const Context& context, const BenchOptions& options);
Result<Metrics> bench_http(const Context& context, const BenchOptions& options);
Result<Metrics> bench_authz(const Context& context, const BenchOptions& options);
Result<Metrics> bench_drain(const Context& context, const BenchOptions& options);
Result<Metrics> bench_audit(const Context& context, const BenchOptions& options);

}  // namespace citadel::cli
