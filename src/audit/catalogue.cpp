#include "audit/catalogue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/nearest.hpp"

namespace citadel::audit {
namespace {

constexpr std::size_t action_bytes_max = 100;
constexpr std::string_view own_prefix = "x.";

using enum ActionClass;
using enum Severity;
using enum Retention;
using enum Recorder;
constexpr auto must = journal::Class::critical;
constexpr auto may_shed = journal::Class::sheddable;
// Not by `using enum`: audit is also a namespace here, and critical also a class of the journal.
constexpr auto trail = ActionClass::audit;
constexpr auto alarm = Severity::critical;

constexpr auto rows = std::to_array<Action>({
    // Aliases, which decide what a name means to a caller.
    {"alias.create", change, notice, extended, must, anyone},
    {"alias.delete", change, notice, extended, must, anyone},
    {"alias.update", change, notice, extended, must, anyone},
    // The trail itself. Who read it is kept as long as what it is evidence of.
    {"audit.erasure", trail, warning, extended, must, daemon},
    {"audit.exported", trail, notice, extended, must, daemon},
    {"audit.fork_accepted", trail, alarm, extended, must, daemon},
    {"audit.fork_detected", trail, alarm, extended, must, daemon},
    {"audit.gap", trail, alarm, extended, must, daemon},
    {"audit.hold_placed", trail, notice, extended, must, daemon},
    {"audit.hold_released", trail, warning, extended, must, daemon},
    {"audit.id_conflict", trail, warning, extended, must, daemon},
    {"audit.journal_full", trail, alarm, extended, must, daemon},
    {"audit.key_rotated", trail, warning, extended, must, daemon},
    {"audit.proved", trail, info, standard, must, daemon},
    {"audit.read", trail, info, standard, must, daemon},
    {"audit.repeat", trail, info, short_, must, daemon},
    {"audit.reported", trail, notice, extended, must, daemon},
    {"audit.restored", trail, alarm, extended, must, daemon},
    {"audit.retention_run", trail, notice, extended, must, daemon},
    {"audit.searched", trail, info, standard, must, daemon},
    {"audit.shed", trail, alarm, extended, must, daemon},
    {"audit.started", trail, notice, extended, must, daemon},
    {"audit.stopped", trail, notice, extended, must, daemon},
    {"audit.tailed", trail, info, standard, must, daemon},
    {"audit.undecodable", trail, alarm, extended, must, daemon},
    {"audit.verification_failed", trail, alarm, extended, must, daemon},
    {"audit.verified", trail, info, extended, must, daemon},
    {"audit.witness_refused", trail, alarm, extended, must, daemon},
    // Authentication, of the daemon's own callers and of theirs.
    {"auth.failure", identity, warning, standard, must, anyone},
    {"auth.success", identity, info, standard, must, anyone},
    {"backup.create", operation, notice, standard, must, anyone},
    {"backup.restore", operation, alarm, extended, must, anyone},
    {"config.change", change, warning, extended, must, anyone},
    // Rows that a trigger saw change: written by the database, never by a caller.
    {"database.delete", change, warning, extended, must, daemon},
    {"database.insert", change, notice, extended, must, daemon},
    {"database.truncate", change, alarm, extended, must, daemon},
    {"database.update", change, notice, extended, must, daemon},
    {"dataset.create", change, notice, extended, must, anyone},
    {"dataset.delete", change, warning, extended, must, anyone},
    {"dataset.update", change, notice, extended, must, anyone},
    {"deployment.create", change, notice, extended, must, anyone},
    {"deployment.delete", change, warning, extended, must, anyone},
    {"deployment.update", change, notice, extended, must, anyone},
    {"guardrail.create", change, notice, extended, must, anyone},
    {"guardrail.delete", change, warning, extended, must, anyone},
    {"guardrail.trigger", use, notice, standard, may_shed, anyone},
    {"guardrail.update", change, warning, extended, must, anyone},
    // What a human decided against or in place of a model (EU AI Act articles 12(3)(d) and 14).
    {"human.override", use, warning, extended, must, anyone},
    {"human.review", use, notice, extended, must, anyone},
    // One call has a start and one of the three ends. By the thousand a second, so they give way first; the
    // gap entry then counts them.
    {"inference.abort", use, notice, short_, may_shed, anyone},
    {"inference.complete", use, info, short_, may_shed, anyone},
    {"inference.error", use, warning, short_, may_shed, anyone},
    {"inference.start", use, info, short_, may_shed, anyone},
    {"key.create", identity, notice, extended, must, anyone},
    {"key.delete", identity, notice, extended, must, anyone},
    {"key.denied", identity, warning, standard, must, anyone},
    {"key.revoke", identity, notice, extended, must, anyone},
    {"key.rotate", identity, notice, extended, must, anyone},
    {"key.update", identity, notice, extended, must, anyone},
    {"migration.apply", operation, notice, extended, must, daemon},
    {"migration.failure", operation, alarm, extended, must, daemon},
    {"model.create", change, notice, extended, must, anyone},
    {"model.delete", change, warning, extended, must, anyone},
    {"model.update", change, notice, extended, must, anyone},
    {"model_version.approve", change, notice, extended, must, anyone},
    {"model_version.create", change, notice, extended, must, anyone},
    {"model_version.delete", change, warning, extended, must, anyone},
    {"model_version.promote", change, warning, extended, must, anyone},
    {"model_version.retire", change, notice, extended, must, anyone},
    {"model_version.update", change, notice, extended, must, anyone},
    // Sampling parameters, system limits of a model: they change answers as much as a version does.
    {"parameter.create", change, notice, extended, must, anyone},
    {"parameter.delete", change, notice, extended, must, anyone},
    {"parameter.update", change, notice, extended, must, anyone},
    {"prompt.create", change, notice, extended, must, anyone},
    {"prompt.delete", change, notice, extended, must, anyone},
    {"prompt.update", change, notice, extended, must, anyone},
    {"role.create", identity, notice, extended, must, anyone},
    {"role.delete", identity, warning, extended, must, anyone},
    {"role.grant", identity, warning, extended, must, anyone},
    {"role.revoke", identity, notice, extended, must, anyone},
    {"role.update", identity, warning, extended, must, anyone},
    {"route.create", change, notice, extended, must, anyone},
    {"route.delete", change, notice, extended, must, anyone},
    {"route.update", change, notice, extended, must, anyone},
    {"service.start", operation, info, standard, must, anyone},
    {"service.stop", operation, info, standard, must, anyone},
    {"tenant.create", identity, notice, extended, must, anyone},
    {"tenant.delete", identity, warning, extended, must, anyone},
    {"tenant.suspend", identity, warning, extended, must, anyone},
    {"tenant.update", identity, notice, extended, must, anyone},
    {"tool.call", use, info, short_, may_shed, anyone},
    {"tool.error", use, warning, short_, may_shed, anyone},
    {"user.create", identity, notice, extended, must, anyone},
    {"user.delete", identity, warning, extended, must, anyone},
    {"user.update", identity, notice, extended, must, anyone},
});
static_assert(std::ranges::is_sorted(rows, {}, &Action::name));

std::string_view nearest_action(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Action& action : rows) names.push_back(action.name);
  return nearest(name, names);
}

}  // namespace

std::string_view to_string(ActionClass action_class) {
  switch (action_class) {
    case identity:
      return "identity";
    case change:
      return "change";
    case use:
      return "use";
    case ActionClass::audit:
      return "audit";
    case operation:
      return "operation";
  }
  return "?";
}

std::string_view to_string(Severity severity) {
  switch (severity) {
    case info:
      return "info";
    case notice:
      return "notice";
    case warning:
      return "warning";
    case Severity::critical:
      return "critical";
  }
  return "?";
}

std::string_view to_string(Retention retention) {
  switch (retention) {
    case short_:
      return "short";
    case standard:
      return "standard";
    case extended:
      return "extended";
  }
  return "?";
}

std::span<const Action> catalogue() {
  return rows;
}

bool is_action_name(std::string_view name) {
  if (name.size() > action_bytes_max) return false;
  std::size_t words = 1, letters = 0;
  for (const char c : name) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    if (!is_letter && (c != '.' || letters == 0)) return false;
    letters = is_letter ? letters + 1 : 0;
    if (!is_letter) ++words;
  }
  return words >= 2 && letters > 0;
}

Result<Action> find_action(std::string_view name) {
  const auto at = std::ranges::lower_bound(rows, name, {}, &Action::name);
  if (at != rows.end() && at->name == name) return *at;
  if (name.starts_with(own_prefix) && is_action_name(name)) {
    return Action{name, use, info, standard, may_shed, anyone};
  }
  const std::string_view near = nearest_action(name);
  return fail(Code::invalid_argument,
              fmt::format("is not a known action{}; one of your own begins with \"x.\"",
                          near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near)));
}

}  // namespace citadel::audit
