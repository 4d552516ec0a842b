#include "cli/pgbench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto time_min = 5s, time_max = 80s;

std::optional<double> throughput_of(std::string_view summary) {
  constexpr std::string_view before = "\ntps = ";
  const auto at = summary.rfind(before);
  if (at == std::string_view::npos) return std::nullopt;
  double tps = 0;
  const auto number = summary.substr(at + before.size());
  const bool read = std::from_chars(number.data(), number.data() + number.size(), tps).ec == std::errc();
  return read ? std::optional(tps) : std::nullopt;
}

Result<void> check_summary(const PgbenchRun& wanted, const std::string& summary) {
  const auto lines = {fmt::format("transaction type: {}\n", wanted.script),
                      std::string("query mode: prepared\n"),
                      fmt::format("number of clients: {}\n", wanted.clients),
                      std::string("number of failed transactions: 0 ")};
  for (const auto& line : lines) {
    if (summary.find("\n" + line) == std::string::npos)
      return fail(Code::internal, fmt::format("pgbench does not say \"{}\": {}", line, summary));
  }
  return {};
}

}  // namespace

Result<double> pgbench_throughput(const PgbenchRun& wanted, std::chrono::seconds asked,
                                  const RunPgbench& run) {
  for (auto time = std::max(asked, time_min); time <= std::max(asked, time_max); time *= 2) {
    CITADEL_ASSIGN(const auto summary, run(time));
    const auto throughput = throughput_of(summary);
    if (!throughput) continue;
    CITADEL_TRY(check_summary(wanted, summary));
    return *throughput;
  }
  return fail(
      Code::unavailable,
      fmt::format("pgbench's {} logins took all of its {} s, so it measured nothing; is the machine busy?",
                  wanted.clients, time_max.count()));
}

}  // namespace citadel::cli
