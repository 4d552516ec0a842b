// citadel bench: each part against its yardstick, in the same run on the same machine.
#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <thread>

#include "base/log.hpp"
#include "cli/bench_audit.hpp"
#include "cli/bench_support.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

struct Bench {
  std::string_view name;
  Result<Metrics> (*run)(const Context&, const BenchOptions&);
};

constexpr auto benches = std::to_array<Bench>({
    {"sql", bench_sql},
    {"pool", bench_pool},
    {"http", bench_http},
    {"authz", bench_authz},
    {"journal", bench_journal},
    {"drain", bench_drain},
    {"audit", bench_audit},
    {"audit-append", bench_audit_append},
    {"audit-verify", bench_audit_verify},
    {"audit-drain", bench_audit_log},
    {"audit-scale", bench_audit_scale},
});

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

json::object machine() {
  utsname system{};
  ::uname(&system);
  std::ifstream load_file("/proc/loadavg");
  double load = 0;
  load_file >> load;
  return {{"processor", processor()},
          {"cores", std::thread::hardware_concurrency()},
          {"kernel", std::string_view(system.release)},
          {"load", load}};
}

json::object to_json(const Metric& metric) {
  const auto ratio = metric.ratio();
  return {{"name", metric.name},
          {"unit", metric.unit},
          {"ours", metric.ours},
          {"yardstick", metric.yardstick ? json::value(*metric.yardstick) : json::value(nullptr)},
          {"yardstick_name",
           metric.yardstick_name.empty() ? json::value(nullptr) : json::value(metric.yardstick_name)},
          {"ratio", ratio ? json::value(*ratio) : json::value(nullptr)},
          {"goal", metric.goal_text()},
          {"met", metric.met()}};
}

void print_table(std::ostream& out, const Metrics& metrics) {
  Table table({{"metric"},
               {"ours", Align::right},
               {"yardstick", Align::right},
               {"unit"},
               {"ratio", Align::right},
               {"goal"},
               {"met"},
               {"yardstick is"}});
  for (const auto& metric : metrics) {
    const auto ratio = metric.ratio();
    table.add({metric.name, fmt::format("{:.2f}", metric.ours),
               metric.yardstick ? fmt::format("{:.2f}", *metric.yardstick) : "-", metric.unit,
               ratio ? fmt::format("{:.2f}", *ratio) : "-", metric.goal_text(), metric.met() ? "yes" : "NO",
               metric.yardstick_name});
  }
  out << table.render();
}

int run_bench(const Context& context, const std::string& name, const BenchOptions& options) {
  const auto* const bench = std::ranges::find(benches, name, &Bench::name);
  log::configure(log::Level::warning, log::Format::text);
  const auto report_machine = machine();
  const auto metrics = bench->run(context, options);
  if (!metrics) return context.report(metrics.error());
  if (context.json) {
    json::array list;
    for (const auto& metric : *metrics) list.push_back(to_json(metric));
    *context.out << citadel::json::serialize(json::object{
                        {"bench", name}, {"machine", report_machine}, {"metrics", std::move(list)}})
                 << '\n';
  } else {
    print_table(*context.out, *metrics);
  }
  return std::ranges::all_of(*metrics, &Metric::met) ? exit_good : exit_check_failed;
}

}  // namespace

void add_bench_command(Command app, Context& context) {
  const auto bench = app.add_subcommand("bench", "Measure a part against its yardstick, on private servers");
  struct Options {
    std::string name;
    int seconds = 5;
    int rounds = BenchOptions{}.rounds;
    std::size_t rows = BenchOptions{}.rows;
    std::string data;
  };
  const auto options = std::make_shared<Options>();
  std::vector<std::string> names;
  for (const auto& each : benches) names.emplace_back(each.name);
  bench.add_option("name", options->name, "What to measure").required().one_of(names);
  bench.add_option("--seconds", options->seconds, "How long each measurement takes")
      .range(1, 600)
      .show_default();
  bench
      .add_option("--rounds", options->rounds,
                  "How often ours and its yardstick are measured in turn; medians count")
      .range(1, 100)
      .show_default();
  bench.add_option("--rows", options->rows, "Entries that the audit benches fill a log or an export with")
      .range(1'000, 100'000'000)
      .show_default();
  bench.add_option(
      "--data", options->data,
      "Folder where audit-scale keeps its log; a run with the same folder fills in what is missing");
  bench.callback([&context, options] {
    context.exit_code = run_bench(context, options->name,
                                  {.seconds = std::chrono::seconds(options->seconds),
                                   .rounds = options->rounds,
                                   .rows = options->rows,
                                   .data = options->data});
  });
}

}  // namespace citadel::cli
