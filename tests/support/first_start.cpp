#include "support/first_start.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/check.hpp"
#include "base/file.hpp"
#include "support/process.hpp"
#include "support/temp_folder.hpp"

namespace citadel::support {
namespace {

using namespace std::chrono_literals;

std::string stamp(const std::filesystem::path& path) {
  struct stat info{};
  CITADEL_CHECK(::stat(path.c_str(), &info) == 0, "a program is gone");
  return fmt::format("-{}-{}.{}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

// Says which program, which PostgreSQL and which user made it.
std::string make_key(const std::filesystem::path& program) {
  auto key = program.filename().string() + stamp(program);
  std::error_code none;
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
    const auto postgres = version.path() / "bin/postgres";
    if (std::filesystem::exists(postgres)) key += stamp(postgres);
  }
  return key + fmt::format("-{}", ::geteuid());
}

// Owners too: PostgreSQL's files are its user's.
void copy_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  const auto copied = run_process({"cp", "-a", "--sparse=always", (from / ".").string(), to.string()}, "",
                                  Deadline::after(60s));
  CITADEL_CHECK(copied.status == 0, "what a first start made could not be copied");
}

void lock(const UniqueFd& file, int how) {
  CITADEL_CHECK(::flock(file.get(), how) == 0, "no lock on what a first start made");
}

// Under the lock: whoever finds it whole may copy it.
void make_template(const std::filesystem::path& folder, const std::filesystem::path& made,
                   const std::string& program,
                   const std::function<void(const std::filesystem::path&)>& make) {
  const auto half = folder / (program + ".new");
  for (const auto& other : std::filesystem::directory_iterator(folder)) {
    const auto name = other.path().filename().string();
    if (name.starts_with(program + "-") || other.path() == half) std::filesystem::remove_all(other.path());
  }
  const TempFolder fresh("first");
  make(fresh.path());
  std::filesystem::remove_all(fresh / "log");
  std::filesystem::create_directory(half);
  copy_folder(fresh.path(), half);
  std::filesystem::rename(half, made);
}

}  // namespace

void copy_first_start(const std::filesystem::path& data,
                      const std::function<void(const std::filesystem::path&)>& make) {
  const char* wanted = ::getenv("CITADEL_TEST_TEMPLATE");
  if (wanted == nullptr || *wanted == '\0') return;
  const std::filesystem::path folder(wanted);
  std::filesystem::create_directories(folder);
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  const auto made = folder / make_key(program);
  const UniqueFd file(
      ::open((folder / (program.filename().string() + ".lock")).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CITADEL_CHECK(file, "the folder for what a first start made cannot be written");
  lock(file, LOCK_EX);
  if (!std::filesystem::exists(made)) make_template(folder, made, program.filename().string(), make);
  copy_folder(made, data);
}

}  // namespace citadel::support
