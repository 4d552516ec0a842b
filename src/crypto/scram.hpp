// SCRAM-SHA-256: what a server keeps of a password, so that it can check one without having it (RFC 5802
// section 3, RFC 7677), in PostgreSQL's spelling: a role's PASSWORD may be given as this text. Callable from
// any thread.
#pragma once
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/secret.hpp"

namespace citadel::crypto {

// "SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY", the last three in base64. Who has it can guess at the
// password, and with more `iterations` (at least 1) each guess takes longer: so does each login, on the
// client's side. A password that nobody can guess needs 1; one that people made needs 4096 at least. RFC 7677
// asks for that minimum, and some clients refuse less. CHECK: the password is of printable ASCII, which is
// the same before and after SASLprep; the salt is not empty.
std::string scram_verifier(const Secret& password, Bytes salt, unsigned iterations);

}  // namespace citadel::crypto
