// citadel audit: the audit trail, one subcommand for each thing that people do with it.
#include "cli/audit_commands.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"

namespace citadel::cli {

void add_audit_command(Command app, Context& context) {
  const auto audit = app.add_subcommand(
      "audit", "Record, search, prove, export, report on, verify, hold and erase the audit trail");
  audit.require_subcommand();
  audit.fallthrough();
  add_audit_append(audit, context);
  add_audit_read(audit, context);
  add_audit_proof(audit, context);
  add_audit_export(audit, context);
  add_audit_report(audit, context);
  add_audit_verify(audit, context);
  add_audit_lifecycle(audit, context);
  add_audit_erase(audit, context);
  add_audit_key(audit, context);
}

}  // namespace citadel::cli
