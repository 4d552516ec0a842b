#include "cli/json_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::cli {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string json_lines(std::string_view text) {
  std::string out = "[";
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    out += (out.size() > 1 ? "," : "") + json_string(line);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return out + "]";
}

}  // namespace citadel::cli
