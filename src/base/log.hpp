// Log: structured lines to standard error, as text for people or JSON for machines. One level for the
// process, changeable while it runs. Thread-safe; a call below the level costs one atomic load.
//
//   log::info("pool", "connection opened", {{"backend_pid", pid}, {"took_ms", ms}});
//
// `room` is the part of Citadel that speaks. Values are printed as they are, so a secret is passed as Secret,
// which prints "***". Control characters are escaped in both forms, and bad UTF-8 is replaced: one event is
// one line, and in JSON one that every reader takes.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "base/uuid.hpp"

namespace citadel::log {

enum class Level : std::uint8_t { debug, info, warning, error };
enum class Format : std::uint8_t { text, json };

std::string_view to_string(Level level);

// At the start, and again on reload, while other threads write. Until then: info, text.
void configure(Level level, Format format);
bool enabled(Level level);

class Value {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  Value(T number) {
    if constexpr (std::is_same_v<T, bool>) {
      value_ = number;
    } else if constexpr (std::is_floating_point_v<T>) {
      value_ = static_cast<double>(number);
    } else if constexpr (std::is_unsigned_v<T>) {
      value_ = static_cast<std::uint64_t>(number);
    } else {
      value_ = static_cast<std::int64_t>(number);
    }
  }
  Value(std::string_view text) : value_(std::string(text)) {}
  Value(const char* text) : value_(std::string(text)) {}
  Value(const std::string& text) : value_(text) {}
  Value(const Secret&) : value_(std::string("***")) {}
  Value(const Uuid& id) : value_(id.to_string()) {}
  Value(const Error& error) : value_(error.to_string()) {}

  using Variant = std::variant<bool, std::int64_t, std::uint64_t, double, std::string>;
  const Variant& get() const { return value_; }

 private:
  Variant value_;
};

struct Field {
  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

void write(Level level, std::string_view room, std::string_view message, Fields fields);

inline void debug(std::string_view room, std::string_view message, Fields fields = {}) {
  if (enabled(Level::debug)) write(Level::debug, room, message, fields);
}
inline void info(std::string_view room, std::string_view message, Fields fields = {}) {
  if (enabled(Level::info)) write(Level::info, room, message, fields);
}
inline void warning(std::string_view room, std::string_view message, Fields fields = {}) {
  if (enabled(Level::warning)) write(Level::warning, room, message, fields);
}
inline void error(std::string_view room, std::string_view message, Fields fields = {}) {
  if (enabled(Level::error)) write(Level::error, room, message, fields);
}

// The line that write() hands to spdlog, without time and level; for tests.
std::string render(Format format, std::string_view room, std::string_view message, Fields fields);

}  // namespace citadel::log
