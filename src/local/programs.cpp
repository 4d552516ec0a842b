#include "local/programs.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <charconv>
#include <ranges>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "local/spawn.hpp"

namespace citadel::local {
namespace {

bool runs(const std::filesystem::path& program) {
  return ::access(program.c_str(), X_OK) == 0;
}

std::vector<std::filesystem::path> path_folders() {
  std::vector<std::filesystem::path> out;
  const char* path = ::getenv("PATH");
  for (const auto part : std::views::split(std::string_view(path != nullptr ? path : ""), ':')) {
    if (!part.empty()) out.emplace_back(std::string_view(part.begin(), part.end()));
  }
  out.emplace_back("/usr/sbin");  // Debian's pgpool; not in everybody's PATH
  out.emplace_back("/usr/local/sbin");
  return out;
}

Result<int> ask_major(const std::filesystem::path& postgres) {
  const Account self{};  // no change of user: it only prints
  CITADEL_ASSIGN(const auto line,
                 run({.arguments = {postgres.string(), "--version"}, .folder = "/", .death_signal = 9}, self,
                     {}, Deadline::after(std::chrono::seconds(10))));
  if (const auto major = parse_postgres_major(line)) return *major;
  return fail(Code::unsupported, fmt::format("{} --version says {}", postgres.string(), line));
}

std::vector<std::filesystem::path> postgres_folders(std::optional<int> data_major) {
  std::vector<std::filesystem::path> out;
  for (int major = postgres_major_max; major >= postgres_major_min; --major) {
    if (data_major.value_or(major) == major) out.push_back(fmt::format("/usr/lib/postgresql/{}/bin", major));
  }
  for (auto& folder : path_folders()) {
    // Debian's and others' symbolic links: initdb finds its files beside itself.
    std::error_code error;
    const auto real = std::filesystem::canonical(folder / "initdb", error);
    out.push_back(error ? folder : real.parent_path());
  }
  return out;
}

std::unexpected<Error> no_postgres(std::optional<int> data_major, const std::string& seen) {
  if (data_major) {
    return fail(
        Code::unsupported,
        fmt::format("the data folder was made by PostgreSQL {0}, whose programs are not here{1}; install "
                    "postgresql-{0}, or move the data to a newer version by pg_upgrade",
                    *data_major, seen.empty() ? "" : " (found: " + seen + ")"));
  }
  return fail(
      Code::not_found,
      fmt::format("PostgreSQL {} to {} was not found{}; on Debian: apt-get install postgresql-15",
                  postgres_major_min, postgres_major_max, seen.empty() ? "" : " (found: " + seen + ")"));
}

Result<Programs> find_postgres(const std::filesystem::path& named, std::optional<int> data_major) {
  std::string seen;
  const auto folders = named.empty() ? postgres_folders(data_major) : std::vector{named};
  for (const auto& folder : folders) {
    if (!runs(folder / "postgres") || !runs(folder / "initdb")) continue;
    const auto major = ask_major(folder / "postgres");
    if (!major) continue;
    if (*major >= postgres_major_min && *major <= postgres_major_max &&
        data_major.value_or(*major) == *major) {
      return Programs{.postgres = folder / "postgres",
                      .initdb = folder / "initdb",
                      .pgpool = {},
                      .postgres_major = *major};
    }
    seen += fmt::format("{}{} in {}", seen.empty() ? "" : ", ", *major, folder.string());
  }
  return no_postgres(data_major, seen);
}

}  // namespace

std::optional<int> parse_postgres_major(std::string_view version_line) {
  const auto start = version_line.find_first_of("0123456789");
  if (start == std::string_view::npos) return std::nullopt;
  int major = 0;
  const auto [end, error] =
      std::from_chars(version_line.data() + start, version_line.data() + version_line.size(), major);
  if (error != std::errc{} || major < 8 || major > 999) return std::nullopt;
  return major;
}

Result<std::optional<int>> data_major(const std::filesystem::path& postgres_data) {
  auto text = read_file(postgres_data / "PG_VERSION", 64);
  if (!text && text.error().code == Code::not_found) return std::optional<int>();
  if (!text) return std::unexpected(text.error());
  const auto major = parse_postgres_major(*text);
  if (!major)
    return fail(Code::corrupt, fmt::format("{}/PG_VERSION holds no version", postgres_data.string()));
  return major;
}

Result<Programs> find_programs(const std::filesystem::path& postgres_folder,
                               const std::filesystem::path& pgpool_program, std::optional<int> data_major) {
  CITADEL_ASSIGN(auto programs, find_postgres(postgres_folder, data_major));
  if (!pgpool_program.empty()) programs.pgpool = pgpool_program;
  for (const auto& folder : path_folders()) {
    if (programs.pgpool.empty() && runs(folder / "pgpool")) programs.pgpool = folder / "pgpool";
  }
  if (programs.pgpool.empty() || !runs(programs.pgpool)) {
    return fail(Code::not_found, fmt::format("Pgpool-II was not found{}; on Debian: apt-get install pgpool2",
                                             pgpool_program.empty() ? "" : " at " + pgpool_program.string()));
  }
  return programs;
}

}  // namespace citadel::local
