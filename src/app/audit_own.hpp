// The daemon's own entries in the audit trail, and how often they are made. Pure but for ids.
//
// Who reads the log, who authenticates, what was lost: the daemon alone knows, and the catalogue lets nobody
// else record it.
#pragma once
#include <deque>
#include <map>
#include <string>

#include "app/config.hpp"
#include "audit/event.hpp"
#include "audit/journal_range.hpp"
#include "base/random.hpp"
#include "http/server.hpp"

namespace citadel::app {

// What happened to what; the actor is the daemon unless another is given.
struct OwnEvent {
  std::string_view action;
  audit::Object object;
  audit::Outcome outcome = audit::Outcome::success;
  std::string reason = {};
  std::string details = {};  // JSON
  audit::Actor actor = {.type = "system", .id = "citadel"};
  std::string request_id = {};
  std::string trace_id = {};
  std::string tenant = "default";
};
// "key" of the admin key, "principal" of TENANT/NAME, "unknown" of nobody.
std::string_view actor_type(std::string_view principal);
// How it authenticated: "api_key:PREFIX", or "api_key" with the admin key.
std::string auth_method(std::string_view key_prefix);
// What a finished request says of who asked: auth.success, auth.failure of a key that is not valid, with its
// principal where it was one, and key.denied. Nothing of a request that needed no key.
std::optional<OwnEvent> request_event(const http::RequestSummary& summary);
// Texts are cut and cleaned to what an event may hold.
audit::Event make_event(OwnEvent own, WallTime now, Random& random);

// The first entry of each epoch: where the one before ended.
OwnEvent started_event(const audit::JournalPosition& before, std::string_view version);
OwnEvent gap_event(const audit::JournalRange& lost, std::string_view reason);
// The reloadable keys whose values differ, before and after; of secrets the file alone. Nothing: none does.
std::optional<OwnEvent> config_change(const Config& before, const Config& after);

// Which authentications are recorded: each failure, as long as there are at most `failures_per_second`, and
// the rest as a number; a success once per key and address in `window`. Not thread-safe.
class AuthPolicy {
 public:
  static constexpr std::size_t failures_per_second = 20;
  static constexpr std::size_t remembered_max = 10'000;

  explicit AuthPolicy(Monotonic::duration window) : window_(window) {}

  bool record_failure(MonotonicTime now);
  // `who`: the principal with its key.
  bool record_success(const std::string& who, const std::string& address, MonotonicTime now);
  // Failures since the last call that were not recorded one by one.
  std::uint64_t take_uncounted() { return std::exchange(uncounted_, 0); }

 private:
  Monotonic::duration window_;
  MonotonicTime second_{};
  std::size_t in_second_ = 0;
  std::uint64_t uncounted_ = 0;
  std::map<std::pair<std::string, std::string>, MonotonicTime> seen_;
};

}  // namespace citadel::app
