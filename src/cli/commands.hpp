// The commands, one line each. run_command_line adds them in this order, which is the order of the help.
#pragma once

namespace CLI {
class App;
}

namespace citadel::cli {

struct Context;

void add_up_command(CLI::App& app, Context& context);
void add_serve_command(CLI::App& app, Context& context);
void add_migrate_command(CLI::App& app, Context& context);
void add_config_command(CLI::App& app, Context& context);
void add_doctor_command(CLI::App& app, Context& context);
void add_status_command(CLI::App& app, Context& context);
void add_pool_command(CLI::App& app, Context& context);
void add_import_command(CLI::App& app, Context& context);
void add_usage_command(CLI::App& app, Context& context);
void add_audit_command(CLI::App& app, Context& context);
void add_verify_command(CLI::App& app, Context& context);
void add_bench_command(CLI::App& app, Context& context);
void add_version_command(CLI::App& app, Context& context);

}  // namespace citadel::cli
