// citadel audit: the audit trail, one subcommand for each thing that people do with it.
#include <CLI/CLI.hpp>

#include "cli/audit_commands.hpp"
#include "cli/commands.hpp"

namespace citadel::cli {

void add_audit_command(CLI::App& app, Context& context) {
  auto* const audit = app.add_subcommand(
      "audit", "Record, search, prove, export, report on, verify, hold and erase the audit trail");
  audit->require_subcommand(1);
  audit->fallthrough();
  add_audit_append(*audit, context);
  add_audit_read(*audit, context);
  add_audit_proof(*audit, context);
  add_audit_export(*audit, context);
  add_audit_report(*audit, context);
  add_audit_verify(*audit, context);
  add_audit_lifecycle(*audit, context);
  add_audit_erase(*audit, context);
  add_audit_key(*audit, context);
}

}  // namespace citadel::cli
