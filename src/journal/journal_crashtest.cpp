// kill -9 at each named point of the journal's life, again and again, and at moments of chance. Afterwards
// each acknowledged record is in the database once, in order, without a gap.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "base/crash_point.hpp"
#include "base/random.hpp"
#include "journal/crash_database.hpp"
#include "journal/test_folder.hpp"

namespace citadel::journal {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint64_t records_per_life = 60;
// A child that has neither ended nor spoken for so long hangs.
constexpr auto child_silence_max = 60s;

fs::path child_program() {
  return fs::read_symlink("/proc/self/exe").parent_path() / "journal_crash_child";
}

struct Life {
  bool killed = false;
  int exit_code = -1;
  bool done = false;
};

class JournalCrash : public testing::Test {
 protected:
  // One life of the child; what it acknowledged goes to acknowledged_. Killed by chance where `kill_after`
  // says so.
  Life live(const std::string& crash_point, std::optional<std::chrono::microseconds> kill_after = {}) {
    int pipe_ends[2];
    CITADEL_CHECK(::pipe2(pipe_ends, O_CLOEXEC) == 0, "no pipe");
    UniqueFd out(pipe_ends[0]);
    UniqueFd in(pipe_ends[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in.get(), STDOUT_FILENO);
    const std::string program = child_program();
    const std::string folder = folder_.path();
    const std::string database = database_path();
    const std::string records = std::to_string(records_per_life);
    const char* const arguments[] = {program.c_str(), folder.c_str(), database.c_str(), records.c_str(),
                                     nullptr};
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
    if (!crash_point.empty()) variables.push_back("CITADEL_CRASH_POINT=" + crash_point);
    std::vector<char*> pointers;
    for (auto& variable : variables) pointers.push_back(variable.data());
    pointers.push_back(nullptr);
    pid_t child = 0;
    const int spawned = ::posix_spawn(&child, program.c_str(), &actions, nullptr,
                                      const_cast<char* const*>(arguments), pointers.data());
    ::posix_spawn_file_actions_destroy(&actions);
    CITADEL_CHECK(spawned == 0, "the crash child does not start");
    in.reset();
    const std::string said = listen(out.get(), child, kill_after);
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            note(said)};
  }

  std::string listen(int fd, pid_t child, std::optional<std::chrono::microseconds> kill_after) {
    std::string said;
    std::optional<MonotonicTime> kill_at;
    char buffer[4'096];
    for (;;) {
      pollfd waiting{fd, POLLIN, 0};
      timespec patience{std::chrono::seconds(child_silence_max).count(), 0};
      if (kill_at) {
        const auto left = std::max(*kill_at - Monotonic::now(), Monotonic::duration::zero());
        patience = {0, static_cast<long>(left.count() % 1'000'000'000)};
      }
      if (::ppoll(&waiting, 1, &patience, nullptr) == 0) {
        if (!kill_at) ADD_FAILURE() << "the child hangs";
        ::kill(child, SIGKILL);
        kill_at.reset();
        continue;
      }
      const auto got = ::read(fd, buffer, sizeof buffer);
      if (got <= 0) return said;
      // The time counts from the first sign of life, so that chance hits the work and not the start of the
      // program.
      if (kill_after && said.empty()) kill_at = Monotonic::now() + *kill_after;
      said.append(buffer, static_cast<std::size_t>(got));
    }
  }

  bool note(const std::string& said) {
    std::istringstream lines(said);
    std::string word;
    while (lines >> word) {
      if (word == "done") return true;
      std::uint64_t number = 0;
      lines >> number;
      acknowledged_.push_back(number);
    }
    return false;
  }

  // A last life to the end; then all that was ever acknowledged is there.
  void verify(const std::string& what) {
    // It drains what was left, and leaves three records of its own in the journal.
    const Life last = live("");
    ASSERT_TRUE(last.done) << what << ": exit code " << last.exit_code;
    const CrashDatabase database(database_path());
    std::set<std::uint64_t> there;
    Position before;
    for (const auto& row : database.rows()) {
      ASSERT_TRUE(there.insert(row.number).second) << what << ": record twice";
      EXPECT_EQ(row.payload, payload_of(row.number)) << what;
      EXPECT_GT(row.position, before) << what << ": order";
      EXPECT_EQ(row.position.sequence, row.position.epoch == before.epoch ? before.sequence + 1 : 1u)
          << what << ": a gap";
      before = row.position;
    }
    auto journal = Journal::open(small_options(folder_.path()), system_clock()).value();
    EXPECT_TRUE(journal->damage().empty()) << what;
    for (const Frame& frame : read_all(*journal, journal->status().cursor)) {
      EXPECT_TRUE(there.insert(CrashDatabase::number_of(frame.id)).second)
          << what << ": drained and still there";
    }
    for (const auto number : acknowledged_)
      EXPECT_TRUE(there.contains(number)) << what << ": lost " << number;
    journal.reset();
    fs::remove_all(folder_.path());
    fs::remove(database_path());
    acknowledged_.clear();
  }

  fs::path database_path() const { return folder_.root() / "database"; }

  TestFolder folder_;
  std::vector<std::uint64_t> acknowledged_;
};

std::uint64_t crashes_wanted() {
  const char* const text = std::getenv("CITADEL_CRASH_POINTS");
  return text == nullptr ? 1'000 : std::strtoull(text, nullptr, 10);
}

// Half of the crashes: each point at its first passing, its second, and so on. A few lives share a folder, so
// that recovery meets what crashes of recovery left.
TEST_F(JournalCrash, AtEachPointAgainAndAgain) {
  std::set<std::string_view> fired;
  std::uint64_t crashes = 0;
  std::string story;
  for (std::uint64_t passing = 1; passing <= 3 || crashes < crashes_wanted() / 2; ++passing) {
    ASSERT_LT(passing, 10'000u) << "no point is passed often enough";
    for (const std::string_view name : crash_point_names) {
      if (!name.starts_with("journal.")) continue;
      // The others are passed once in a life.
      const bool often = name.starts_with("journal.append") || name.starts_with("journal.cursor") ||
                         name.starts_with("journal.segment") || name.starts_with("journal.unlink");
      // Only a folder without a cursor has its file replaced.
      if (name.ends_with("_replace")) ASSERT_NO_FATAL_FAILURE(verify(std::exchange(story, {})));
      const std::uint64_t nth = often ? passing : 1;
      const std::string point = std::string(name) + ":" + std::to_string(nth);
      const Life life = live(point);
      ASSERT_TRUE(life.killed || life.done) << story << point << ": exit code " << life.exit_code;
      story += point + " ";
      if (!life.killed) continue;
      fired.insert(name);
      if (++crashes % 7 == 0) {
        ASSERT_NO_FATAL_FAILURE(verify(story));
        story.clear();
      }
    }
    if (HasFailure()) return;
  }
  verify(story);
  for (const std::string_view name : crash_point_names) {
    if (name.starts_with("journal.")) EXPECT_TRUE(fired.contains(name)) << name << " was never reached";
  }
}

// The other half: at any moment.
TEST_F(JournalCrash, AtMomentsOfChance) {
  const std::uint64_t seed = random_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  SeededRandom random(seed);
  for (std::uint64_t crashes = 0; crashes < crashes_wanted() / 2 && !HasFailure();) {
    const Life life = live("", std::chrono::microseconds(random.below(6'000)));
    ASSERT_TRUE(life.killed || life.done) << "exit code " << life.exit_code;
    // A life that ended before its time is no crash, but a clean stop between two; it is not counted.
    if (life.killed && ++crashes % 7 == 0) ASSERT_NO_FATAL_FAILURE(verify("chance"));
  }
}

TEST(JournalCrashPoint, AMisspelledNameIsRefused) {
  for (const char* const text : {"journal.append.nowhere", "journal.append.before_sync:0",
                                 "journal.append.before_sync:x", "journal.append.before_sync:"}) {
    const std::string command =
        "CITADEL_CRASH_POINT=" + std::string(text) + " " + child_program().string() + " a b 1 2>/dev/null";
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << text;
  }
}

}  // namespace
}  // namespace citadel::journal
