#include "base/log.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cmath>

namespace citadel::log {
namespace {

std::atomic<Level> current_level{Level::info};
std::atomic<Format> current_format{Format::text};

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made =
        std::make_shared<spdlog::logger>("citadel", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// JSON string escapes (RFC 8259 §7), which text lines use as well, so that no value can break a line or forge
// one.
void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text);
  out += '"';
}

void append_value(std::string& out, const Value& value, Format format) {
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string>) {
          const bool bare =
              format == Format::text && !v.empty() && v.find_first_of(" =\"\\\n\r\t") == std::string::npos;
          if (bare) {
            append_escaped(out, v);
          } else {
            append_quoted(out, v);
          }
        } else if constexpr (std::is_same_v<T, double>) {
          out += std::isfinite(v) ? fmt::format("{}", v) : "null";
        } else {
          out += fmt::format("{}", v);
        }
      },
      value.get());
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "error";
}

Result<Level> parse_level(std::string_view text) {
  for (const auto level : {Level::debug, Level::info, Level::warning, Level::error}) {
    if (text == to_string(level)) return level;
  }
  return fail(Code::invalid_argument, fmt::format("'{}' is not one of debug, info, warning, error", text));
}

Result<Format> parse_format(std::string_view text) {
  if (text == "text") return Format::text;
  if (text == "json") return Format::json;
  return fail(Code::invalid_argument, fmt::format("'{}' is not one of text, json", text));
}

void configure(Level level, Format format) {
  current_level = level;
  current_format = format;
  if (format == Format::json) {
    logger().set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})",
                         spdlog::pattern_time_type::utc);
  } else {
    logger().set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-7l %v", spdlog::pattern_time_type::utc);
  }
}

bool enabled(Level level) {
  return level >= current_level.load(std::memory_order_relaxed);
}

std::string render(Format format, std::string_view room, std::string_view message, Fields fields) {
  std::string out;
  if (format == Format::json) {
    out += "\"room\":";
    append_quoted(out, room);
    out += ",\"message\":";
    append_quoted(out, message);
  } else {
    out += fmt::format("{:<9} ", room);
    append_escaped(out, message);
  }
  for (const auto& field : fields) {
    if (format == Format::json) {
      out += ',';
      append_quoted(out, field.key);
      out += ':';
    } else {
      out += fmt::format(" {}=", field.key);
    }
    append_value(out, field.value, format);
  }
  return out;
}

void write(Level level, std::string_view room, std::string_view message, Fields fields) {
  static const bool configured_once = (configure(current_level, current_format), true);
  static_cast<void>(configured_once);
  logger().log(to_spdlog(level), "{}", render(current_format, room, message, fields));
}

}  // namespace citadel::log
