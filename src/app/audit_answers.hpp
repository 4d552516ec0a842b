// What the API says of entries of the audit trail, as JSON and as lines of an export. Pure.
#pragma once
#include <string>
#include <vector>

#include "audit/export_format.hpp"
#include "audit/queries.hpp"
#include "audit/search.hpp"
#include "json/writer.hpp"

namespace citadel::app {

// One object: the leaf's fields, its bytes, what the envelope says, and the groups as far as they were
// opened.
void write_entry(json::Writer& out, const audit::EntryView& entry);
std::string entry_json(const audit::EntryView& entry);

// {"events":[{"index":…,"class":…,"severity":…,"retention":…,"event":{…}}],"next_cursor":…}
std::string page_json(const audit::SearchPage& page);

// A line of an export (audit/export_format.hpp).
Result<void> append_export_line(std::string& out, const audit::EntryView& entry);

// ["base64", …]
void write_hashes(json::Writer& out, std::span<const tlog::Hash> hashes);

}  // namespace citadel::app
