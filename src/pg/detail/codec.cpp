#include "pg/detail/codec.hpp"

#include <bit>
#include <limits>
#include <stdexcept>

namespace citadel::pg::codec {
namespace {

// 2000-01-01 00:00:00 UTC, where PostgreSQL counts from.
constexpr std::int64_t postgres_epoch_us = 946'684'800'000'000;

template <class T>
bool load(std::string_view bytes, T& out) {
  if (bytes.size() != sizeof(T)) return false;
  out = load_be<T>(bytes.data());
  return true;
}

}  // namespace

void append(std::string& to, bool value) {
  to.push_back(value ? '\1' : '\0');
}
void append(std::string& to, std::int16_t value) {
  append_be(to, value);
}
void append(std::string& to, std::int32_t value) {
  append_be(to, value);
}
void append(std::string& to, std::int64_t value) {
  append_be(to, value);
}
void append(std::string& to, double value) {
  append_be(to, std::bit_cast<std::int64_t>(value));
}
void append(std::string& to, std::string_view value) {
  to.append(value);
}
void append(std::string& to, Bytes value) {
  to.append(as_text(value));
}
void append(std::string& to, const Uuid& value) {
  to.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

void append(std::string& to, WallTime value) {
  const std::int64_t unix_us = value.time_since_epoch().count();
  // The two ends of int64 mean -infinity and infinity there.
  if (unix_us <= std::numeric_limits<std::int64_t>::min() + postgres_epoch_us ||
      unix_us == std::numeric_limits<std::int64_t>::max()) {
    throw std::out_of_range("a time that timestamptz cannot hold");
  }
  append_be(to, unix_us - postgres_epoch_us);
}

void append_array_head(std::string& to, Oid element, std::size_t count, bool has_null) {
  append_be(to, std::int32_t{count == 0 ? 0 : 1});
  append_be(to, std::int32_t{has_null ? 1 : 0});
  append_be(to, element);
  if (count == 0) return;
  append_be(to, static_cast<std::int32_t>(count));
  append_be(to, std::int32_t{1});  // arrays count from 1
}

bool decode(Oid type, std::string_view bytes, bool& out) {
  if (type != oid_bool || bytes.size() != 1) return false;
  out = bytes[0] != '\0';
  return true;
}

bool decode(Oid type, std::string_view bytes, std::int16_t& out) {
  return type == oid_int2 && load(bytes, out);
}

bool decode(Oid type, std::string_view bytes, std::int32_t& out) {
  if (type == oid_int4) return load(bytes, out);
  std::int16_t narrow = 0;
  if (!decode(type, bytes, narrow)) return false;
  out = narrow;
  return true;
}

bool decode(Oid type, std::string_view bytes, std::int64_t& out) {
  if (type == oid_int8) return load(bytes, out);
  if (type == oid_oid) {
    std::uint32_t oid = 0;
    if (!load(bytes, oid)) return false;
    out = oid;
    return true;
  }
  std::int32_t narrow = 0;
  if (!decode(type, bytes, narrow)) return false;
  out = narrow;
  return true;
}

bool decode(Oid type, std::string_view bytes, double& out) {
  if (type == oid_float8) {
    std::uint64_t bits = 0;
    if (!load(bytes, bits)) return false;
    out = std::bit_cast<double>(bits);
    return true;
  }
  std::uint32_t bits = 0;
  if (type != oid_float4 || !load(bytes, bits)) return false;
  out = std::bit_cast<float>(bits);
  return true;
}

bool decode(Oid type, std::string_view bytes, std::string_view& out) {
  switch (type) {
    case oid_text:
    case oid_varchar:
    case oid_bpchar:
    case oid_name:
    case oid_json:
    case oid_char:
      break;
    case oid_jsonb:
      // One byte of version in front; there has only ever been version 1.
      if (bytes.empty() || bytes[0] != '\1') return false;
      bytes.remove_prefix(1);
      break;
    default:
      if (type < oid_user_first) return false;
  }
  out = bytes;
  return true;
}

bool decode(Oid type, std::string_view bytes, std::string& out) {
  std::string_view view;
  if (!decode(type, bytes, view)) return false;
  out = view;
  return true;
}

bool decode(Oid type, std::string_view bytes, Bytes& out) {
  if (type != oid_bytea) return false;
  out = as_bytes(bytes);
  return true;
}

bool decode(Oid type, std::string_view bytes, Uuid& out) {
  if (type != oid_uuid || bytes.size() != out.bytes.size()) return false;
  std::memcpy(out.bytes.data(), bytes.data(), bytes.size());
  return true;
}

bool decode(Oid type, std::string_view bytes, WallTime& out) {
  std::int64_t since_2000 = 0;
  if (type != oid_timestamptz || !load(bytes, since_2000)) return false;
  // The last one also keeps out infinity; the first is -infinity.
  if (since_2000 == std::numeric_limits<std::int64_t>::min() ||
      since_2000 > std::numeric_limits<std::int64_t>::max() - postgres_epoch_us) {
    return false;
  }
  out = WallTime(std::chrono::microseconds(since_2000 + postgres_epoch_us));
  return true;
}

std::optional<Array> split_array(std::string_view bytes) {
  constexpr std::size_t head_size = 12;
  if (bytes.size() < head_size) return std::nullopt;
  const auto dimensions = load_be<std::int32_t>(bytes.data());
  Array array;
  array.element = load_be<std::uint32_t>(bytes.data() + 8);
  bytes.remove_prefix(head_size);
  if (dimensions == 0) return bytes.empty() ? std::optional(std::move(array)) : std::nullopt;
  if (dimensions != 1 || bytes.size() < 8) return std::nullopt;
  const auto count = load_be<std::int32_t>(bytes.data());
  bytes.remove_prefix(8);
  if (count < 0 || static_cast<std::size_t>(count) > bytes.size() / 4) return std::nullopt;
  array.items.reserve(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count; ++i) {
    if (bytes.size() < 4) return std::nullopt;
    const auto length = load_be<std::int32_t>(bytes.data());
    bytes.remove_prefix(4);
    if (length == -1) {
      array.items.emplace_back();
      continue;
    }
    if (length < 0 || static_cast<std::size_t>(length) > bytes.size()) return std::nullopt;
    array.items.emplace_back(bytes.substr(0, static_cast<std::size_t>(length)));
    bytes.remove_prefix(static_cast<std::size_t>(length));
  }
  return bytes.empty() ? std::optional(std::move(array)) : std::nullopt;
}

}  // namespace citadel::pg::codec
