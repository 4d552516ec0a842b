#include "telemetry/trace.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/bytes.hpp"

namespace citadel::telemetry {
namespace {

constexpr std::size_t version_00_length = 55;

// Exactly `out.size()` bytes of lower-case hexadecimal digits.
bool read_hex(std::string_view text, std::span<std::uint8_t> out) {
  if (std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'F'; })) return false;
  const auto bytes = from_hex(text);
  if (!bytes || bytes->size() != out.size()) return false;
  std::memcpy(out.data(), bytes->data(), out.size());
  return true;
}

bool all_zero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}

void fill(std::span<std::uint8_t> out, Random& random) {
  do {
    for (std::size_t i = 0; i < out.size(); i += 8) store_be(out.data() + i, random.next());
  } while (all_zero(out));
}

}  // namespace

std::string TraceContext::trace_id_hex() const {
  return to_hex(std::as_bytes(std::span(trace_id)));
}
std::string TraceContext::parent_id_hex() const {
  return to_hex(std::as_bytes(std::span(parent_id)));
}

std::optional<TraceContext> parse_traceparent(std::string_view header) {
  if (header.size() < version_00_length) return std::nullopt;
  if (header[2] != '-' || header[35] != '-' || header[52] != '-') return std::nullopt;
  std::array<std::uint8_t, 1> version{}, flags{};
  TraceContext context;
  if (!read_hex(header.substr(0, 2), version) || !read_hex(header.substr(3, 32), context.trace_id) ||
      !read_hex(header.substr(36, 16), context.parent_id) || !read_hex(header.substr(53, 2), flags)) {
    return std::nullopt;
  }
  if (version[0] == 0xFF || all_zero(context.trace_id) || all_zero(context.parent_id)) return std::nullopt;
  if (header.size() > version_00_length && (version[0] == 0 || header[version_00_length] != '-'))
    return std::nullopt;
  context.flags = flags[0];
  return context;
}

std::string format_traceparent(const TraceContext& context) {
  return "00-" + context.trace_id_hex() + "-" + context.parent_id_hex() + (context.sampled() ? "-01" : "-00");
}

TraceContext new_trace(Random& random, bool sampled) {
  TraceContext context;
  fill(context.trace_id, random);
  fill(context.parent_id, random);
  context.flags = sampled ? TraceContext::sampled_flag : 0;
  return context;
}

TraceContext child_of(const TraceContext& context, Random& random) {
  auto child = context;
  fill(child.parent_id, random);
  return child;
}

}  // namespace citadel::telemetry
