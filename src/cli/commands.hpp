// The commands, one line each. run_command_line adds them in this order, which is the order of the help.
#pragma once

namespace citadel::cli {

class Command;
struct Context;

void add_up_command(Command app, Context& context);
void add_serve_command(Command app, Context& context);
void add_migrate_command(Command app, Context& context);
void add_config_command(Command app, Context& context);
void add_doctor_command(Command app, Context& context);
void add_status_command(Command app, Context& context);
void add_pool_command(Command app, Context& context);
void add_import_command(Command app, Context& context);
void add_usage_command(Command app, Context& context);
void add_audit_command(Command app, Context& context);
void add_key_command(Command app, Context& context);
void add_principal_command(Command app, Context& context);
void add_tenant_command(Command app, Context& context);
void add_verify_command(Command app, Context& context);
void add_bench_command(Command app, Context& context);
void add_version_command(Command app, Context& context);

}  // namespace citadel::cli
