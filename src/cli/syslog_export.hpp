// SyslogExport: the log to a syslog receiver, RFC 5424 over TCP or TLS, as `citadel audit export --to` does
// it.
//
// Every `window` entries the connection is ended and opened anew: a receiver that closes has read all of it,
// and only then the state file says so, which never goes back. An export that broke off goes on `repeat`
// entries before what the state file has: a receiver that dies loses what it had read and not yet kept. So
// entries may come twice, and none is missing; the index in each tells them apart. After an export that ended
// well, the next one begins with the first entry that is new.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "cli/context.hpp"

namespace citadel::cli {

struct SyslogExportOptions {
  static constexpr std::uint64_t window = 10'000;

  std::string to;                   // parse_syslog_target()
  std::filesystem::path ca, state;  // an empty state: one for each daemon and target, in state_folder()
  std::uint64_t cursor = 0;         // the first index, where there is no state
  std::uint64_t repeat = 100'000;
};

int run_syslog_export(const Context& context, const SyslogExportOptions& options);

}  // namespace citadel::cli
