#include "app/audit_own.hpp"

#include <fmt/format.h>

#include "app/config_keys.hpp"
#include "audit/draft.hpp"
#include "json/writer.hpp"

namespace citadel::app {
namespace {

std::string name(std::string_view text, std::string_view otherwise) {
  auto out = audit::printable(text, audit::EventLimits{}.name_bytes_max);
  return out.empty() ? std::string(otherwise) : out;
}

}  // namespace

std::string_view actor_type(std::string_view principal) {
  if (principal.empty()) return "unknown";
  return principal.contains('/') ? "principal" : "key";
}

std::string auth_method(std::string_view key_prefix) {
  return key_prefix.empty() ? "api_key" : fmt::format("api_key:{}", key_prefix);
}

std::optional<OwnEvent> request_event(const http::RequestSummary& summary) {
  const bool not_valid = summary.status == 401, refused = not_valid || summary.status == 403;
  const bool unknown = summary.principal.empty();
  if (unknown && !not_valid) return std::nullopt;
  return OwnEvent{
      .action = not_valid ? "auth.failure"
                : refused ? "key.denied"
                          : "auth.success",
      .object = {.type = "route", .id = fmt::format("{} {}", to_string(summary.method), summary.path)},
      .outcome = refused ? audit::Outcome::denied : audit::Outcome::success,
      .reason = not_valid && unknown ? "no key, or one that is not valid"
                : not_valid          ? "a key that has ended, or whose principal is disabled"
                : refused            ? "the key does not allow this"
                                     : "",
      .actor = {.type = std::string(actor_type(summary.principal)),
                .id = unknown ? "unknown" : std::string(summary.principal),
                .auth_method = auth_method(summary.key),
                .address = std::string(summary.remote)},
      .request_id = std::string(summary.request_id),
      .tenant = unknown ? "default" : std::string(summary.tenant)};
}

audit::Event make_event(OwnEvent own, WallTime now, Random& random) {
  audit::Event event;
  event.id = new_uuid7(now, random);
  event.time = event.received_at = now;
  event.tenant = name(own.tenant, "default");
  event.actor = {.type = name(own.actor.type, "unknown"),
                 .id = name(own.actor.id, "unknown"),
                 .auth_method = name(own.actor.auth_method, ""),
                 .address = name(own.actor.address, ""),
                 .on_behalf_of = name(own.actor.on_behalf_of, "")};
  event.action = own.action;
  event.object = {.type = name(own.object.type, "unknown"), .id = name(own.object.id, "unknown")};
  event.outcome = own.outcome;
  event.reason = audit::printable(own.reason, audit::EventLimits{}.reason_bytes_max);
  event.request_id = name(own.request_id, "");
  event.trace_id = std::move(own.trace_id);
  event.group(audit::Group::details) = std::move(own.details);
  return event;
}

OwnEvent started_event(const audit::JournalPosition& before, std::string_view version) {
  return {
      .action = audit::started_action,
      .object = {.type = std::string(audit::journal_position_type), .id = to_string(before)},
      .reason = fmt::format("Citadel {} started; the object is where its journal had ended before", version)};
}

OwnEvent gap_event(const audit::JournalRange& lost, std::string_view reason) {
  return {.action = audit::gap_action,
          .object = {.type = std::string(audit::journal_range_type), .id = to_string(lost)},
          .outcome = audit::Outcome::failure,
          .reason = fmt::format("{} acknowledged events were lost: {}", lost.last - lost.first + 1, reason)};
}

std::optional<OwnEvent> config_change(const Config& before, const Config& after) {
  citadel::json::Writer details;
  std::string names;
  details.begin_object().key("changed").begin_array();
  for (const auto& key : config_keys()) {
    if (key.reload == Reload::no || same_value(key, before, after)) continue;
    details.begin_object().key("key").text(key.full_name());
    details.key("before")
        .text(value_text(key, before))
        .key("after")
        .text(value_text(key, after))
        .end_object();
    names += (names.empty() ? "" : " ") + key.full_name();
  }
  details.end_array().end_object();
  if (names.empty()) return std::nullopt;
  return OwnEvent{.action = "config.change",
                  .object = {.type = "configuration", .id = "reload"},
                  .reason = names,
                  .details = details.take()};
}

bool AuthPolicy::record_failure(MonotonicTime now) {
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    in_second_ = 0;
  }
  if (in_second_ >= failures_per_second) {
    ++uncounted_;
    return false;
  }
  ++in_second_;
  return true;
}

bool AuthPolicy::record_success(const std::string& who, const std::string& address, MonotonicTime now) {
  if (seen_.size() >= remembered_max) {
    std::erase_if(seen_, [&](const auto& entry) { return now - entry.second >= window_; });
    // Only where that many are fresh: then they are recorded once more.
    if (seen_.size() >= remembered_max) seen_.clear();
  }
  const auto [at, is_new] = seen_.try_emplace({who, address}, now);
  if (!is_new && now - at->second < window_) return false;
  at->second = now;
  return true;
}

}  // namespace citadel::app
