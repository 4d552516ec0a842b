// The subcommands of `citadel audit`, a file each or a few of a kind.
#pragma once

namespace CLI {
class App;
}

namespace citadel::cli {

struct Context;

void add_audit_append(CLI::App& audit, Context& context);
void add_audit_read(CLI::App& audit, Context& context);   // get, search, trace, tail
void add_audit_proof(CLI::App& audit, Context& context);  // prove, check-proof
void add_audit_export(CLI::App& audit, Context& context);
void add_audit_report(CLI::App& audit, Context& context);
void add_audit_verify(CLI::App& audit, Context& context);
void add_audit_lifecycle(CLI::App& audit, Context& context);  // hold, retention, rotate-key
void add_audit_erase(CLI::App& audit, Context& context);      // erase, certificate, check-certificate
void add_audit_key(CLI::App& audit, Context& context);        // keygen, key, accept-fork

}  // namespace citadel::cli
