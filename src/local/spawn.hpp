// Starting programs: fork and exec as the servers' user, tied to the life of the thread that does it.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "local/account.hpp"

namespace citadel::local {

struct Command {
  std::vector<std::string> arguments;  // [0] is the program's path
  std::filesystem::path folder;        // working folder
  int death_signal = 0;                // comes to the program when the thread that started it ends
};

struct Child {
  pid_t pid = -1;
  UniqueFd watch;  // a pidfd: readable when the program has ended
};

// The program gets a session of its own (a terminal's Ctrl-C is for us, who stop it in order), default
// signals, the locale C.UTF-8, `input` as standard input (-1: /dev/null) and `output` as both outputs. Fails
// with what exec said.
Result<Child> spawn(const Command& command, const Account& account, int input, int output);

// Reaps; nullopt while it runs. The text says how it ended: "exit code 1", "signal 9".
std::optional<std::string> ended(const Child& child);

// Runs to the end with `input`. A code other than 0 is `internal` with the last lines of output; `cancelled`
// where a stop was asked for meanwhile: the program and what it started are killed then, and gone.
Result<std::string> run(const Command& command, const Account& account, std::string_view input,
                        Deadline deadline, const std::stop_token& stop = {});

}  // namespace citadel::local
