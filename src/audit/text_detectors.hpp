// What of a text must never be stored, found by its form. Each finds and replaces in one pass, linear in the
// text. Pure; thread-safe.
#pragma once
#include <string>
#include <string_view>

#include "audit/redaction.hpp"

namespace citadel::audit {

// Replaces what the detector finds in `text` by `mark`; how often. What is around it stays: "Bearer abc…"
// becomes "Bearer MARK".
std::size_t replace(Detector detector, std::string& text, std::string_view mark);

}  // namespace citadel::audit
