// Entries for other people's tools: CSV, OCSF, CEF and RFC 5424. Views: they carry the index and the id by
// which the entry is found and proved, its proof where one is given, and nothing else to verify by
// themselves. An entry whose content was erased or pruned is still a line, of what its leaf says.
//
// CSV     RFC 4180, a header line first. A field that a spreadsheet would take for a formula (it begins with
//         = + - @ tab or CR) has an apostrophe put before it.
// OCSF    1.3.0, one JSON object a line. Authentication 3002 for auth.*, Entity Management 3004 for keys,
//         roles, users and tenants, Application Lifecycle 6002 for starts and stops, Datastore Activity 6005
//         for rows that changed in the database, API Activity 6003 for all else.
// CEF     version 0. cs1 to cs6 are tenant, object type and id, trace id, request id and on whose behalf; cn1
//         is the index.
// Syslog  RFC 5424, facility 13 (log audit); the fields as structured data "citadel@32473", the enterprise
//         number for documentation of RFC 5612, until we have one of our own; a sentence as message.
//
// A proof (ViewedEntry::proof) is the last CSV column "proof", OCSF's unmapped.proof, CEF's CitadelProof,
// each as text; and syslog's parameter "proof", in base64, because a message is one line. It is never cut.
//
// Severities info, notice, warning and critical are 1, 2, 3, 5 in OCSF; 1, 4, 7, 10 in CEF; 6, 5, 4, 2 in
// syslog. Each function appends one line; csv's ends with CR LF, the others' with LF, syslog's with nothing.
// Pure; thread-safe.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "audit/catalogue.hpp"
#include "audit/event.hpp"
#include "audit/leaf.hpp"

namespace citadel::audit {

struct ViewedEntry {
  std::uint64_t index = 0;
  const Leaf& leaf;
  const Event* event = nullptr;  // nullptr: not there any more; its groups, where they were opened
  std::string_view proof = {};   // a C2SP tlog-proof; empty: none
};

// What the catalogue says of the event's action; info where it does not know it, or the event is gone.
Severity severity_of(const ViewedEntry& entry);

// With the column of the proof, where the entries have one.
void append_csv_header(std::string& out, bool proofs = false);
void append_csv(std::string& out, const ViewedEntry& entry);

struct ViewSource {
  std::string host;     // for syslog: a name or an address
  std::string version;  // of Citadel
};
void append_ocsf(std::string& out, const ViewedEntry& entry, const ViewSource& source);
void append_cef(std::string& out, const ViewedEntry& entry, const ViewSource& source);
void append_syslog(std::string& out, const ViewedEntry& entry, const ViewSource& source);
// A message as it goes over TCP or TLS: its length in bytes before it (RFC 5425 §4.3, RFC 6587 §3.4.1).
std::string frame_syslog(std::string_view message);

}  // namespace citadel::audit
