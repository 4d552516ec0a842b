// journal_crash_child FOLDER DATABASE RECORDS: for journal_crashtest.cpp. Appends records and prints "ack
// NUMBER" for each that the journal acknowledged; drains into DATABASE, a file that plays the database:
// frames and watermark go there in one append of a whole batch, so that a batch is there or not. Prints
// "done" when all is appended and drained. It dies wherever CITADEL_CRASH_POINT says, or when it is killed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/file.hpp"
#include "journal/crash_database.hpp"
#include "journal/test_folder.hpp"

namespace citadel::journal {
namespace {

// One write(2) of less than PIPE_BUF bytes: the parent sees a whole line or none.
void say(const std::string& line) {
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(3);
}

// One batch to the database, then the cursor. False where there was nothing.
bool drain_once(Journal& journal, CrashDatabase& database) {
  const auto frames = journal.read(journal.status().cursor, 16, 4'096).value();
  if (frames.empty()) return false;
  database.insert(frames);
  if (!journal.advance(frames.back().position)) std::_Exit(4);
  return true;
}

int run(const char* folder, const char* database_path, std::uint64_t records) {
  Options options = small_options(folder);
  options.segment_bytes = 2'048;
  options.payload_bytes_max = 256;
  auto journal = Journal::open(options, system_clock());
  if (!journal || !(*journal)->damage().empty()) {
    std::fprintf(stderr, "open: %s\n",
                 journal ? (*journal)->damage()[0].reason.c_str() : journal.error().to_string().c_str());
    return 5;
  }
  CrashDatabase database(database_path);
  const std::uint64_t first = static_cast<std::uint64_t>(::getpid()) << 20;
  std::jthread appender([&] {
    for (std::uint64_t i = 0; i < records; i += 3) {
      // One, then a group of two that stand together.
      (void)append_one(**journal, first + i).value();
      say("ack " + std::to_string(first + i) + "\n");
      (void)append_all(**journal, {record_of(first + i + 1, payload_of(first + i + 1)),
                                   record_of(first + i + 2, payload_of(first + i + 2))})
          .value();
      say("ack " + std::to_string(first + i + 1) + "\n");
      say("ack " + std::to_string(first + i + 2) + "\n");
    }
  });
  while ((*journal)->status().appended_total < records) {
    if (!drain_once(**journal, database)) std::this_thread::yield();
  }
  appender.join();
  while (drain_once(**journal, database)) {
  }
  // What is left in the journal is drained by the next one.
  for (std::uint64_t i = 0; i < 3; ++i) (void)append_one(**journal, first + records + i).value();
  for (std::uint64_t i = 0; i < 3; ++i) say("ack " + std::to_string(first + records + i) + "\n");
  journal->reset();
  say("done\n");
  return 0;
}

}  // namespace
}  // namespace citadel::journal

int main(int count, char** arguments) {
  if (count != 4) return 2;
  return citadel::journal::run(arguments[1], arguments[2], std::strtoull(arguments[3], nullptr, 10));
}
