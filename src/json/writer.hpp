// Writer: JSON text, appended piece by piece, without building values first. Commas and escapes are its work;
// that objects and arrays are closed, each by its own end, that a key stands before each member of an object,
// and that no more than 64 are open, is the caller's (CHECK). Not thread-safe.
//
//   json::Writer out;
//   out.begin_object().key("id").text(id).key("tokens").integer(7).end_object();
//   send(out.take());
//
// Text that is not UTF-8 has its bad bytes replaced by U+FFFD; a double that is not finite is written as
// null. So the result is always JSON that parse() reads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace citadel::json {

class Writer {
 public:
  explicit Writer(std::size_t size_bytes_hint = 0) { out_.reserve(size_bytes_hint); }

  Writer& begin_object();
  Writer& end_object();
  Writer& begin_array();
  Writer& end_array();
  Writer& key(std::string_view name);
  Writer& text(std::string_view value);
  Writer& integer(std::int64_t value);
  // The shortest text that reads back as the same double.
  Writer& number(double value);
  Writer& boolean(bool value);
  Writer& null();
  // JSON that was written already.
  Writer& raw(std::string_view json);

  // How much has been written so far.
  std::size_t size() const { return out_.size(); }
  std::string take();

 private:
  void before_value();
  void begin(char bracket, bool is_object);
  void end(char bracket, bool is_object);
  bool in_object() const { return depth_ > 0 && (objects_ >> (depth_ - 1) & 1) != 0; }

  std::string out_;
  int depth_ = 0;
  std::uint64_t objects_ = 0;  // of what is open, a bit each from the outermost: whether it is an object
  bool first_ = true;          // nothing yet in the innermost container
  bool after_key_ = false;
};

}  // namespace citadel::json
