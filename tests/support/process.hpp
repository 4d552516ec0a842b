// Process: a program that a test runs: its output is collected, and it does not outlive the test. Killed
// (SIGKILL) and reaped in the destructor; it also dies with the thread that started it, so start it from one
// that lives.
//
//   auto daemon = Process({"citadel", "up"});
//   auto line = daemon.read_line(Deadline::after(20s));       // "ready http://…"
//   daemon.signal(SIGTERM);
//   EXPECT_EQ(daemon.wait(Deadline::after(5s)), 0);
#pragma once
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.hpp"

namespace citadel::support {

struct ProcessOptions {
  std::vector<std::pair<std::string, std::string>> environment = {};  // beside what this process has
  std::string folder = {};                                            // working folder; empty: this process's
};

class Process {
 public:
  // `arguments[0]` is looked up in PATH. Aborts where no process can be made; a program that is not there
  // ends with exit code 127.
  explicit Process(std::vector<std::string> arguments, ProcessOptions options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const;
  // Sends a signal if it has not been reaped.
  void signal(int number);
  // Its standard input. A program that has gone is no error.
  void write(std::string_view text);
  void close_input();

  // The next whole line of standard output without its end, or nullopt at the deadline or the output's end.
  std::optional<std::string> read_line(Deadline deadline);
  // Its exit code, or minus the signal that ended it; nullopt at the deadline. All its output has been read
  // then.
  std::optional<int> wait(Deadline deadline);

  // All that came so far.
  std::string out() const;
  std::string err() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct Ended {
  std::optional<int> status;  // as Process::wait
  std::string out;
  std::string err;
};
// Runs a program to its end; killed at the deadline.
Ended run_process(std::vector<std::string> arguments, std::string_view input, Deadline deadline,
                  ProcessOptions options = {});

}  // namespace citadel::support
