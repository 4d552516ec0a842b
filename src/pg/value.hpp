// Typed binary parameters and rows. Values travel in PostgreSQL's binary format; the C++ type decides the OID
// that is sent and the OIDs that are accepted back, so a mismatch between our SQL and our code is found on
// the first row.
//
//   pg::Params params(std::int64_t{7}, "mixtral-8x7b", std::nullopt_or...);
//   for (const pg::Row row : rows) { auto name = row.get<std::string_view>(0); auto at =
//   row.get<WallTime>(1); }
//
// C++ type            PostgreSQL type              notes
// bool                bool                         params: exactly bool, so that no pointer slips in
// int16_t             int2
// int32_t             int2, int4                   sent as int4
// int64_t             int2, int4, int8, oid        sent as int8
// double              float4, float8               sent as float8
// string_view/string  text, varchar, bpchar, name, json, jsonb, "char", enum types   sent as text
// Bytes               bytea
// Uuid                uuid
// WallTime            timestamptz                  infinity is refused
// vector<T>/span<T>   one-dimensional array of T   no NULL elements, but vector<optional<T>> allows them
// optional<T>         NULL or T
//
// Rows of execute_simple are text: of them get() reads string_view and string from any type, and bool,
// integers and double from what PostgreSQL prints for them.
#pragma once
#include <concepts>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/uuid.hpp"

struct pg_result;  // libpq's PGresult; named here only so that Rows can own one

namespace citadel::pg {

using Oid = std::uint32_t;

// Thrown by Row::get when a column is not what the code expects: another type, NULL, or no such column. It is
// a bug or a changed schema, never data; store/ turns it into Code::internal.
struct TypeMismatch : std::logic_error {
  using std::logic_error::logic_error;
};

template <class T>
concept Element =
    std::same_as<T, std::int16_t> || std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t> ||
    std::same_as<T, double> || std::same_as<T, std::string> || std::same_as<T, std::string_view> ||
    std::same_as<T, Bytes> || std::same_as<T, Uuid> || std::same_as<T, WallTime>;

// The parameters of one execution. Owns its bytes. At most 65,535 (the protocol's limit; CHECK), of 1 GiB
// together.
class Params {
 public:
  Params() = default;
  template <class... T>
    requires(sizeof...(T) > 0)
  explicit Params(const T&... values) {
    (add(values), ...);
  }

  template <std::same_as<bool> B>
  void add(B value) {
    add_bool(value);
  }
  void add(std::int16_t value);
  void add(std::int32_t value);
  void add(std::int64_t value);
  void add(double value);
  void add(std::string_view value);
  void add(const char* value) { add(std::string_view(value)); }
  void add(const std::string& value) { add(std::string_view(value)); }
  void add(Bytes value);
  void add(const Uuid& value);
  // Throws std::out_of_range for a time that timestamptz cannot hold.
  void add(WallTime value);
  template <Element T>
  void add(std::span<const T> values);
  template <Element T>
  void add(std::span<const std::optional<T>> values);
  void add(const std::vector<bool>& values);
  template <class T>
  void add(const std::vector<T>& values) {
    add(std::span<const T>(values));
  }
  template <class T>
  void add(const std::optional<T>& value) {
    if (value) {
      add(*value);
    } else {
      add_null<T>();
    }
  }

  std::size_t size() const { return types_.size(); }
  // What libpq's PQexecPrepared takes. Valid until the next add().
  struct Wire {
    std::vector<const char*> values;
    std::span<const int> lengths;
    std::vector<int> formats;
  };
  Wire wire() const;
  std::span<const Oid> types() const { return types_; }

 private:
  template <class T>
  void add_null();
  void add_bool(bool value);
  void add_null_of(Oid type);
  template <class Write>
  void add_with(Oid type, Write write);

  std::vector<Oid> types_;
  std::vector<std::ptrdiff_t> offsets_;  // into bytes_, -1 for NULL
  std::vector<int> lengths_;
  std::string bytes_;
};

class Rows;

// One row of a Rows that outlives it.
class Row {
 public:
  // string_view and Bytes point into the Rows.
  template <class T>
  T get(int column) const;
  bool is_null(int column) const;

 private:
  friend class Rows;
  Row(const Rows& rows, int index) : rows_(&rows), index_(index) {}
  const Rows* rows_;
  int index_;
};

// The rows of one statement, and how many rows it affected. Move-only.
class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* owned) : result_(owned, &destroy) {}

  int size() const;
  bool empty() const { return size() == 0; }
  Row operator[](int index) const { return Row(*this, index); }
  // INSERT, UPDATE, DELETE, MERGE, COPY: the count in the command tag. SELECT: the rows. Others: 0.
  std::int64_t affected() const;
  // "INSERT 0 1"
  std::string_view command_tag() const;
  int columns() const;
  std::string_view column_name(int column) const;

  class Iterator {
   public:
    Iterator(const Rows& rows, int index) : rows_(&rows), index_(index) {}
    Row operator*() const { return (*rows_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const Rows* rows_;
    int index_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

  const pg_result* raw() const { return result_.get(); }

 private:
  static void destroy(pg_result* result);
  std::unique_ptr<pg_result, void (*)(pg_result*)> result_{nullptr, &destroy};
};

}  // namespace citadel::pg
