// Rows and Row, over libpq's PGresult.
#include <fmt/format.h>
#include <libpq-fe.h>

#include <charconv>

#include "pg/detail/codec.hpp"
#include "pg/value.hpp"

namespace citadel::pg {
namespace {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <class Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// What execute_simple gives: the text that PostgreSQL prints.
template <class T>
bool decode_text(std::string_view text, T& out) {
  if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>) {
    out = text;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    out = text == "t";
    return text == "t" || text == "f";
  } else if constexpr (std::is_arithmetic_v<T>) {
    return parse_number(text, out);
  } else {
    return false;
  }
}

template <class T>
bool decode_any(Oid type, std::string_view bytes, T& out) {
  if constexpr (is_vector<T>) {
    using Item = typename T::value_type;
    const auto array = codec::split_array(bytes);
    if (!array) return false;
    out.clear();
    out.reserve(array->items.size());
    for (const auto& item : array->items) {
      if constexpr (is_optional<Item>) {
        if (!item) {
          out.emplace_back();
          continue;
        }
        typename Item::value_type value{};
        if (!decode_any(array->element, *item, value)) return false;
        out.emplace_back(std::move(value));
      } else {
        Item value{};
        if (!item || !decode_any(array->element, *item, value)) return false;
        out.push_back(std::move(value));
      }
    }
    return true;
  } else {
    return codec::decode(type, bytes, out);
  }
}

}  // namespace

void Rows::destroy(pg_result* result) {
  PQclear(result);
}

int Rows::size() const {
  return result_ ? PQntuples(result_.get()) : 0;
}

int Rows::columns() const {
  return result_ ? PQnfields(result_.get()) : 0;
}

std::string_view Rows::command_tag() const {
  return result_ ? PQcmdStatus(result_.get()) : "";
}

std::int64_t Rows::affected() const {
  if (!result_) return 0;
  std::int64_t count = 0;
  const std::string_view text = PQcmdTuples(result_.get());
  return parse_number(text, count) ? count : 0;
}

std::string_view Rows::column_name(int column) const {
  const char* name = result_ ? PQfname(result_.get(), column) : nullptr;
  return name != nullptr ? name : "";
}

bool Row::is_null(int column) const {
  if (column < 0 || column >= rows_->columns())
    throw TypeMismatch(fmt::format("there is no column {}", column));
  return PQgetisnull(rows_->raw(), index_, column) != 0;
}

template <class T>
T Row::get(int column) const {
  const bool null = is_null(column);
  if constexpr (is_optional<T>) {
    if (null) return std::nullopt;
    return get<typename T::value_type>(column);
  } else {
    const PGresult* result = rows_->raw();
    if (null) throw TypeMismatch(fmt::format("column {} ('{}') is NULL", column, rows_->column_name(column)));
    const std::string_view bytes(PQgetvalue(result, index_, column),
                                 static_cast<std::size_t>(PQgetlength(result, index_, column)));
    const Oid type = PQftype(result, column);
    T value{};
    const bool good =
        PQfformat(result, column) == 0 ? decode_text(bytes, value) : decode_any(type, bytes, value);
    if (!good) {
      throw TypeMismatch(fmt::format("column {} ('{}') has type OID {}, which the code does not expect",
                                     column, rows_->column_name(column), type));
    }
    return value;
  }
}

#define CITADEL_PG_GET(T)                                                                    \
  template T Row::get<T>(int) const;                                                         \
  template std::optional<T> Row::get<std::optional<T>>(int) const;                           \
  template std::vector<T> Row::get<std::vector<T>>(int) const;                               \
  template std::vector<std::optional<T>> Row::get<std::vector<std::optional<T>>>(int) const; \
  template std::optional<std::vector<T>> Row::get<std::optional<std::vector<T>>>(int) const
CITADEL_PG_GET(bool);
CITADEL_PG_GET(std::int16_t);
CITADEL_PG_GET(std::int32_t);
CITADEL_PG_GET(std::int64_t);
CITADEL_PG_GET(double);
CITADEL_PG_GET(std::string);
CITADEL_PG_GET(std::string_view);
CITADEL_PG_GET(Bytes);
CITADEL_PG_GET(Uuid);
CITADEL_PG_GET(WallTime);
#undef CITADEL_PG_GET

}  // namespace citadel::pg
