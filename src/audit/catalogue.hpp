// The catalogue of actions: one row an action, what Citadel and its callers may record and how it is kept. An
// action that is not in it must begin with "x." and is kept as a use of the standard class.
//
// What must be recorded (identity, change, audit, operation, and what a human overrode) is critical: where it
// cannot be kept, the act itself is refused. Only uses, which come by the thousand, may be shed, and then a
// gap entry counts them. Pure; thread-safe.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "journal/journal.hpp"

namespace citadel::audit {

enum class ActionClass : std::uint8_t {
  identity = 1,   // who may do what: authentication, keys, roles, tenants
  change = 2,     // what changes how the service answers: models, routes, prompts, configuration, rows
  use = 3,        // what was asked and answered
  audit = 4,      // the trail itself: reading, proving, holding, erasing, gaps
  operation = 5,  // start, stop, migrations, restores
};
enum class Severity : std::uint8_t { info = 1, notice = 2, warning = 3, critical = 4 };
// How long an entry's content is kept at least: six months, twelve months, six years. See docs/audit.md.
enum class Retention : std::uint8_t { short_ = 1, standard = 2, extended = 3 };
// Who may record it. What only the daemon knows to be true, a caller must not claim: a gap entry that anybody
// may send would excuse a hole.
enum class Recorder : std::uint8_t { anyone = 1, daemon = 2 };

struct Action {
  std::string_view name;  // "model_version.create"
  ActionClass action_class;
  Severity severity;
  Retention retention;
  journal::Class shed;  // sheddable: may be refused first where the journal is nearly full
  Recorder recorder;
};

std::string_view to_string(ActionClass action_class);
std::string_view to_string(Severity severity);
std::string_view to_string(Retention retention);

// Sorted by name.
std::span<const Action> catalogue();
// Words of lower-case letters, digits and underscores, at least two, joined by dots; at most 100 bytes.
bool is_action_name(std::string_view name);
// invalid_argument, with the nearest name, for an action that is neither listed nor the caller's own. The
// name of a caller's own is `name` itself, so it must outlive the action.
Result<Action> find_action(std::string_view name);

}  // namespace citadel::audit
