#include "json/lines.hpp"

#include <boost/json/monotonic_resource.hpp>

namespace citadel::json {
namespace {

constexpr std::size_t scratch_bytes = 8 << 10;

}  // namespace

Result<void> for_each_line(
    std::string_view text, const ParseLimits& limits,
    const std::function<Result<void>(std::size_t, const boost::json::value&)>& on_value) {
  unsigned char scratch[scratch_bytes];
  boost::json::monotonic_resource memory(scratch, sizeof scratch);
  std::size_t line = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view content = text.substr(start, end - start);
    ++line;
    if (content.find_first_not_of(" \t\r") != std::string_view::npos) {
      memory.release();
      CITADEL_ASSIGN(const auto value, parse(content, limits, {.line = line, .offset = start}, &memory));
      CITADEL_TRY(on_value(line, value));
    }
    start = end + 1;
  }
  return {};
}

}  // namespace citadel::json
