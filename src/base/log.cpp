#include "base/log.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cmath>

#include "base/quote.hpp"

namespace citadel::log {
namespace {

std::atomic<Level> current_level{Level::info};
std::atomic<Format> current_format{Format::text};

std::shared_ptr<spdlog::logger> make_logger(const char* pattern) {
  auto made = std::make_shared<spdlog::logger>("citadel", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  made->set_level(spdlog::level::trace);
  made->flush_on(spdlog::level::trace);
  made->set_pattern(pattern, spdlog::pattern_time_type::utc);
  return made;
}

// One a format, made once: a reload in another thread's write() can then never give that line the beginning
// of one format and the end of the other.
spdlog::logger& logger(Format format) {
  static const auto text = make_logger("%Y-%m-%dT%H:%M:%S.%eZ %-7l %v");
  static const auto json = make_logger(R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})");
  return format == Format::json ? *json : *text;
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

void configure(Level level, Format format) {
  current_level = level;
  current_format = format;
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
  const Format format = current_format.load(std::memory_order_relaxed);
  logger(format).log(to_spdlog(level), "{}", render(format, room, message, fields));
}

}  // namespace citadel::log
