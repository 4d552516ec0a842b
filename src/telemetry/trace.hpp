// Trace context (W3C Trace Context, https://www.w3.org/TR/trace-context/): the `traceparent` header, parsed
// and written. Pure values.
//
//   auto trace = parse_traceparent(header).value_or(new_trace(random));
//   forward("traceparent", format_traceparent(child_of(trace, random)));
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.hpp"

namespace citadel::telemetry {

struct TraceContext {
  std::array<std::uint8_t, 16> trace_id{};  // never all zero
  std::array<std::uint8_t, 8> parent_id{};  // the span that this one was called from; never all zero
  std::uint8_t flags = 0;

  static constexpr std::uint8_t sampled_flag = 0x01;
  bool sampled() const { return (flags & sampled_flag) != 0; }
  std::string trace_id_hex() const;
  std::string parent_id_hex() const;
  friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

// nullopt where the header must be ignored: wrong length, upper case, version ff, an id of zeros, or
// characters after version 00. A later version is read as far as version 00 goes, as the standard asks.
std::optional<TraceContext> parse_traceparent(std::string_view header);

// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"; of the flags only `sampled` is passed on.
std::string format_traceparent(const TraceContext& context);

// A trace that begins here.
TraceContext new_trace(Random& random, bool sampled = false);
// The same trace, with a new span as the parent of what is called next.
TraceContext child_of(const TraceContext& context, Random& random);

}  // namespace citadel::telemetry
