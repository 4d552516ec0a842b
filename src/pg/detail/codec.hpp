// The binary wire format of single values and one-dimensional arrays, both ways. Pure.
//
// append() writes the payload alone; the length in front is the business of who frames it (Params,
// CopyWriter, an array). decode() gives false where the bytes are not a value of that type.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/uuid.hpp"

namespace citadel::pg::codec {

using Oid = std::uint32_t;

// pg_type.oid of the built-in types; they never change.
inline constexpr Oid oid_bool = 16, oid_bytea = 17, oid_char = 18, oid_name = 19, oid_int8 = 20,
                     oid_int2 = 21, oid_int4 = 23, oid_text = 25, oid_oid = 26, oid_json = 114,
                     oid_float4 = 700, oid_float8 = 701, oid_bpchar = 1042, oid_varchar = 1043,
                     oid_timestamptz = 1184, oid_uuid = 2950, oid_jsonb = 3802;
inline constexpr Oid oid_bool_array = 1000, oid_bytea_array = 1001, oid_int2_array = 1005,
                     oid_int4_array = 1007, oid_text_array = 1009, oid_int8_array = 1016,
                     oid_float8_array = 1022, oid_timestamptz_array = 1185, oid_uuid_array = 2951;
// Types made by CREATE TYPE start here; of them only enums, which travel as text, are read.
inline constexpr Oid oid_user_first = 16384;

template <class T>
struct TypeOf;  // value: the OID that is sent; array: that of its array
#define CITADEL_PG_TYPE(T, scalar, array_oid) \
  template <>                                 \
  struct TypeOf<T> {                          \
    static constexpr Oid value = scalar;      \
    static constexpr Oid array = array_oid;   \
  }
CITADEL_PG_TYPE(bool, oid_bool, oid_bool_array);
CITADEL_PG_TYPE(std::int16_t, oid_int2, oid_int2_array);
CITADEL_PG_TYPE(std::int32_t, oid_int4, oid_int4_array);
CITADEL_PG_TYPE(std::int64_t, oid_int8, oid_int8_array);
CITADEL_PG_TYPE(double, oid_float8, oid_float8_array);
CITADEL_PG_TYPE(std::string_view, oid_text, oid_text_array);
CITADEL_PG_TYPE(std::string, oid_text, oid_text_array);
CITADEL_PG_TYPE(Bytes, oid_bytea, oid_bytea_array);
CITADEL_PG_TYPE(Uuid, oid_uuid, oid_uuid_array);
CITADEL_PG_TYPE(WallTime, oid_timestamptz, oid_timestamptz_array);
#undef CITADEL_PG_TYPE
template <class T>
struct TypeOf<std::optional<T>> : TypeOf<T> {};
template <class T>
struct TypeOf<std::vector<T>> {
  static constexpr Oid value = TypeOf<T>::array;
};

void append(std::string& to, bool value);
void append(std::string& to, std::int16_t value);
void append(std::string& to, std::int32_t value);
void append(std::string& to, std::int64_t value);
void append(std::string& to, double value);
void append(std::string& to, std::string_view value);
inline void append(std::string& to, const std::string& value) {
  append(to, std::string_view(value));
}
void append(std::string& to, Bytes value);
void append(std::string& to, const Uuid& value);
// Throws std::out_of_range for a time that timestamptz cannot hold as a finite value.
void append(std::string& to, WallTime value);

// Writes a length in front of what `write` appends. Values are limited to 1 GiB by the server, so an int
// holds it.
template <class Write>
void append_framed(std::string& to, Write write) {
  const std::size_t at = to.size();
  to.append(sizeof(std::int32_t), '\0');
  write();
  store_be(to.data() + at, static_cast<std::int32_t>(to.size() - at - sizeof(std::int32_t)));
}
inline void append_null(std::string& to) {
  append_be(to, std::int32_t{-1});
}

// The head of an array; the elements follow, each framed.
void append_array_head(std::string& to, Oid element, std::size_t count, bool has_null);

// Each reads one payload of column type `type`; false where the type or the length is not right.
bool decode(Oid type, std::string_view bytes, bool& out);
bool decode(Oid type, std::string_view bytes, std::int16_t& out);
bool decode(Oid type, std::string_view bytes, std::int32_t& out);
bool decode(Oid type, std::string_view bytes, std::int64_t& out);
bool decode(Oid type, std::string_view bytes, double& out);
bool decode(Oid type, std::string_view bytes, std::string_view& out);
bool decode(Oid type, std::string_view bytes, std::string& out);
bool decode(Oid type, std::string_view bytes, Bytes& out);
bool decode(Oid type, std::string_view bytes, Uuid& out);
bool decode(Oid type, std::string_view bytes, WallTime& out);

// The elements of a one-dimensional array, NULL as nullopt. nullopt where the bytes are anything else.
struct Array {
  Oid element = 0;
  std::vector<std::optional<std::string_view>> items;
};
std::optional<Array> split_array(std::string_view bytes);

}  // namespace citadel::pg::codec
