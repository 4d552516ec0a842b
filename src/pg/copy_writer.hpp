// CopyWriter: rows to the stream that COPY … FROM STDIN (FORMAT binary) reads, for Connection::copy_in.
//
//   CopyWriter writer;
//   for (const Record& r : records) writer.row(r.id, r.at, std::int64_t{r.tokens}, r.note);
//   writer.finish();
//   co_await connection.copy_in("COPY usage.request FROM STDIN (FORMAT binary)", deadline,
//                               chunks_of(writer.view()));
//
// Nothing is converted on the server: a value's C++ type must be the column's very type (int32_t for int4,
// int64_t for int8; see pg/value.hpp). Strings fit text, varchar, json and enums; jsonb needs Jsonb. For a
// stream in several chunks take view(), clear() and go on; header and trailer are written once.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pg/value.hpp"

namespace citadel::pg {

// The text of a jsonb value.
struct Jsonb {
  std::string_view text;
};

class CopyWriter {
 public:
  CopyWriter();

  // One row, with a field for each value.
  template <class... T>
  void row(const T&... values) {
    begin_row(sizeof...(T));
    (field(values), ...);
  }

  // The same by hand: exactly `columns` (at most 1,600) calls of field() follow; CHECK at the next row.
  void begin_row(std::size_t columns);
  template <std::same_as<bool> B>
  void field(B value) {
    field_bool(value);
  }
  void field(std::int16_t value);
  void field(std::int32_t value);
  void field(std::int64_t value);
  void field(double value);
  void field(std::string_view value);
  void field(const char* value) { field(std::string_view(value)); }
  void field(const std::string& value) { field(std::string_view(value)); }
  void field(Jsonb value);
  void field(Bytes value);
  void field(const Uuid& value);
  void field(WallTime value);
  template <Element T>
  void field(std::span<const T> values);
  template <class T>
  void field(const std::vector<T>& values) {
    field(std::span<const T>(values));
  }
  template <class T>
  void field(const std::optional<T>& value) {
    if (value) {
      field(*value);
    } else {
      null();
    }
  }
  void null();

  // The trailer. Nothing may follow.
  void finish();

  // What was written since the last clear(). Valid until the next call that writes.
  std::string_view view() const { return bytes_; }
  std::size_t size_bytes() const { return bytes_.size(); }
  std::int64_t rows() const { return rows_; }
  // Forgets the bytes, keeps the memory and the place in the stream.
  void clear() { bytes_.clear(); }

 private:
  template <class T>
  void put(const T& value);
  void field_bool(bool value);

  std::string bytes_;
  std::int64_t rows_ = 0;
  std::size_t fields_due_ = 0;
  bool finished_ = false;
};

}  // namespace citadel::pg
