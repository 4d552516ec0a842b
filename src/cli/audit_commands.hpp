// The subcommands of `citadel audit`, a file each or a few of a kind.
#pragma once

namespace citadel::cli {

class Command;
struct Context;

void add_audit_append(Command audit, Context& context);
void add_audit_read(Command audit, Context& context);   // get, search, trace, tail
void add_audit_proof(Command audit, Context& context);  // prove, check-proof
void add_audit_export(Command audit, Context& context);
void add_audit_report(Command audit, Context& context);
void add_audit_verify(Command audit, Context& context);
void add_audit_lifecycle(Command audit, Context& context);  // hold, retention, rotate-key
void add_audit_erase(Command audit, Context& context);      // erase, certificate, check-certificate
void add_audit_key(Command audit, Context& context);        // keygen, key, accept-fork

}  // namespace citadel::cli
