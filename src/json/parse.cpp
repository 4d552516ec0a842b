#include "json/parse.hpp"

#include <fmt/format.h>

#include <boost/container/small_vector.hpp>
#include <boost/json/array.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace citadel::json {
namespace {

namespace bj = boost::json;
using bj::error_code;

constexpr std::size_t pointer_token_bytes_max = 64;

// Builds the value while basic_parser reads. The open containers are on a stack of pointers: a container does
// not move while one of its children is open, because only the innermost grows.
class Builder {
 public:
  static constexpr std::size_t max_object_size = std::size_t(-1) >> 1;
  static constexpr std::size_t max_array_size = std::size_t(-1) >> 1;
  static constexpr std::size_t max_key_size = std::size_t(-1) >> 1;
  static constexpr std::size_t max_string_size = std::size_t(-1) >> 1;

  explicit Builder(bj::storage_ptr storage) : root_(std::move(storage)) {}

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }

  bool on_object_begin(error_code&) {
    bj::value* const at = place();
    at->emplace_object();
    open_.push_back(at);
    return true;
  }
  bool on_array_begin(error_code&) {
    bj::value* const at = place();
    at->emplace_array();
    open_.push_back(at);
    return true;
  }
  bool on_object_end(std::size_t, error_code&) { return close(); }
  bool on_array_end(std::size_t, error_code&) { return close(); }

  bool on_key_part(bj::string_view part, std::size_t, error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_key(bj::string_view part, std::size_t, error_code& ec) {
    const std::string_view key = whole(part);
    const auto [entry, added] =
        open_.back()->get_object().emplace(bj::string_view(key.data(), key.size()), nullptr);
    slot_ = &entry->value();
    if (!added) refuse(ec, "the key stands twice in its object", key);
    text_.clear();
    return added;
  }
  bool on_string_part(bj::string_view part, std::size_t, error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_string(bj::string_view part, std::size_t, error_code&) {
    const std::string_view text = whole(part);
    place()->emplace_string().assign(text.data(), text.size());
    text_.clear();
    return true;
  }
  bool on_number_part(bj::string_view part, error_code&) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool on_int64(std::int64_t number, bj::string_view, error_code&) {
    text_.clear();
    place()->emplace_int64() = number;
    return true;
  }
  bool on_uint64(std::uint64_t number, bj::string_view, error_code&) {
    text_.clear();
    place()->emplace_uint64() = number;
    return true;
  }
  // Boost.JSON 1.81 rounds wrongly in the last place now and then, and would turn what it wrote into another
  // number; so the text is read again.
  bool on_double(double, bj::string_view part, error_code& ec) {
    text_.append(part.data(), part.size());
    if (text_.find_first_of(".eE") == std::string::npos) {
      // "-0" is the one such text that an integer type does hold, only not with its sign.
      if (text_ != "-0")
        return refuse_here(ec, "the integer is beyond 64 bits, so it cannot be held exactly");
    }
    double number = 0;
    const auto read = std::from_chars(text_.data(), text_.data() + text_.size(), number);
    if (read.ec == std::errc::result_out_of_range) number = std::strtod(text_.c_str(), nullptr);
    if (!std::isfinite(number)) return refuse_here(ec, "the number is too large for a double");
    text_.clear();
    place()->emplace_double() = number;
    return true;
  }
  bool on_bool(bool flag, error_code&) {
    place()->emplace_bool() = flag;
    return true;
  }
  bool on_null(error_code&) {
    place()->emplace_null();
    return true;
  }
  bool on_comment_part(bj::string_view, error_code&) { return true; }
  bool on_comment(bj::string_view, error_code&) { return true; }

  bj::value take() { return std::move(root_); }
  const std::string& refusal() const { return refusal_; }
  // Where the reader stands: the keys and indexes of what is open.
  std::string pointer() const {
    std::string out;
    for (const bj::value* container : open_) {
      if (const auto* array = container->if_array()) {
        // In the innermost array the element that is wrong is counted only where it has its place already.
        if (container == open_.back() && refusal_.empty()) continue;
        append_pointer(out, std::to_string(array->size() - 1));
      } else if (const auto& object = container->get_object(); !object.empty()) {
        append_pointer(out, (object.end() - 1)->key());
      }
    }
    if (!refused_key_.empty()) {
      out.resize(out.rfind('/') == std::string::npos ? 0 : out.rfind('/'));
      append_pointer(out, refused_key_);
    }
    return out;
  }

 private:
  // The value that is to be filled next.
  bj::value* place() {
    if (open_.empty()) return &root_;
    if (auto* array = open_.back()->if_array()) return &array->emplace_back(nullptr);
    return slot_;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  std::string_view whole(bj::string_view last) {
    if (text_.empty()) return {last.data(), last.size()};
    text_.append(last.data(), last.size());
    return text_;
  }
  bool refuse(error_code& ec, std::string reason, std::string_view key = {}) {
    refusal_ = std::move(reason);
    refused_key_ = key;
    ec = bj::error::syntax;
    return false;
  }

  bool refuse_here(error_code& ec, std::string reason) {
    (void)place();
    return refuse(ec, std::move(reason));
  }

  bj::value root_;
  boost::container::small_vector<bj::value*, 16> open_;
  bj::value* slot_ = nullptr;
  std::string text_;  // what came of a token in parts
  std::string refusal_;
  std::string refused_key_;
};

std::string reason_of(const error_code& ec) {
  if (ec == bj::error::too_deep) return "nested deeper than allowed";
  if (ec == bj::error::incomplete) return "ends in the middle of a value";
  return ec.message();
}

// "line 2, column 14 (byte 31)". The column counts bytes, from 1.
std::string place_of(std::string_view before, ParseOrigin origin) {
  std::size_t line = origin.line, line_start = 0;
  for (std::size_t at = before.find('\n'); at != std::string_view::npos; at = before.find('\n', at + 1)) {
    ++line;
    line_start = at + 1;
  }
  return fmt::format("line {}, column {} (byte {})", line, before.size() - line_start + 1,
                     origin.offset + before.size());
}

}  // namespace

void append_pointer(std::string& pointer, std::string_view token) {
  pointer += '/';
  const bool cut = token.size() > pointer_token_bytes_max;
  std::size_t end = cut ? pointer_token_bytes_max : token.size();
  // Not in the middle of a character.
  while (cut && end > 0 && (static_cast<unsigned char>(token[end]) & 0xC0) == 0x80) --end;
  for (const char c : token.substr(0, end)) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      pointer += '?';
    } else {
      pointer += c;
    }
  }
  if (cut) pointer += "…";
}

Result<bj::value> parse(std::string_view text, const ParseLimits& limits, ParseOrigin origin,
                        bj::storage_ptr storage) {
  if (text.size() > limits.size_bytes_max) {
    return fail(Code::invalid_argument, fmt::format("the JSON text has {} bytes; the limit is {}",
                                                    text.size(), limits.size_bytes_max));
  }
  bj::parse_options options;
  options.max_depth = limits.depth_max;
  bj::basic_parser<Builder> parser(options, std::move(storage));
  error_code ec;
  std::size_t read = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && read < text.size()) ec = bj::error::extra_data;
  if (!ec) return parser.handler().take();
  const Builder& builder = parser.handler();
  std::string message = place_of(text.substr(0, read), origin);
  if (const std::string pointer = builder.pointer(); !pointer.empty()) message += ", at " + pointer;
  message += ": " + (builder.refusal().empty() ? reason_of(ec) : builder.refusal());
  if (ec == bj::error::too_deep) message += fmt::format(" ({} levels)", limits.depth_max);
  return fail(Code::invalid_argument, std::move(message));
}

}  // namespace citadel::json
