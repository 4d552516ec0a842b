// The catalogue of actions: one row an action, what Citadel and its callers may record and how it is kept. An
// action that is not in it must begin with "x." and is kept as a use of the standard class.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "journal/journal.hpp"

namespace citadel::audit {

enum class ActionClass : std::uint8_t { identity = 1, change = 2, use = 3, audit = 4, operation = 5 };
enum class Severity : std::uint8_t { info = 1, notice = 2, warning = 3, critical = 4 };
// How long an entry's content is kept at least: see docs/audit.md.
enum class Retention : std::uint8_t { short_ = 1, standard = 2, extended = 3 };

struct Action {
  std::string_view name;  // "model_version.create"
  ActionClass action_class;
  Severity severity;
  Retention retention;
  journal::Class shed;  // sheddable: may be refused first where the journal is nearly full
};

std::string_view to_string(ActionClass action_class);
std::string_view to_string(Severity severity);
std::string_view to_string(Retention retention);

std::span<const Action> catalogue();
// invalid_argument, with the nearest name, for an action that is neither listed nor the caller's own.
Result<Action> find_action(std::string_view name);

}  // namespace citadel::audit
