#include "pg/value.hpp"

#include "base/check.hpp"
#include "pg/detail/codec.hpp"

namespace citadel::pg {
namespace {

constexpr std::size_t params_max = 65'535;
constexpr std::size_t params_size_bytes_max = std::size_t{1} << 30;

}  // namespace

template <class Write>
void Params::add_with(Oid type, Write write) {
  CITADEL_CHECK(types_.size() < params_max, "more parameters than the protocol can carry");
  const std::size_t at = bytes_.size();
  write();
  CITADEL_CHECK(bytes_.size() <= params_size_bytes_max, "parameters larger than PostgreSQL takes");
  // libpq takes a null pointer for NULL, so a value of no bytes still needs a place to point to.
  lengths_.push_back(static_cast<int>(bytes_.size() - at));
  bytes_.push_back('\0');
  types_.push_back(type);
  offsets_.push_back(static_cast<std::ptrdiff_t>(at));
}

void Params::add_null_of(Oid type) {
  CITADEL_CHECK(types_.size() < params_max, "more parameters than the protocol can carry");
  types_.push_back(type);
  offsets_.push_back(-1);
  lengths_.push_back(0);
}

void Params::add_bool(bool value) {
  add_with(codec::oid_bool, [&] { codec::append(bytes_, value); });
}
void Params::add(std::int16_t value) {
  add_with(codec::oid_int2, [&] { codec::append(bytes_, value); });
}
void Params::add(std::int32_t value) {
  add_with(codec::oid_int4, [&] { codec::append(bytes_, value); });
}
void Params::add(std::int64_t value) {
  add_with(codec::oid_int8, [&] { codec::append(bytes_, value); });
}
void Params::add(double value) {
  add_with(codec::oid_float8, [&] { codec::append(bytes_, value); });
}
void Params::add(std::string_view value) {
  add_with(codec::oid_text, [&] { codec::append(bytes_, value); });
}
void Params::add(Bytes value) {
  add_with(codec::oid_bytea, [&] { codec::append(bytes_, value); });
}
void Params::add(const Uuid& value) {
  add_with(codec::oid_uuid, [&] { codec::append(bytes_, value); });
}
void Params::add(WallTime value) {
  add_with(codec::oid_timestamptz, [&] { codec::append(bytes_, value); });
}

template <Element T>
void Params::add(std::span<const T> values) {
  add_with(codec::TypeOf<T>::array, [&] {
    codec::append_array_head(bytes_, codec::TypeOf<T>::value, values.size(), false);
    for (const T& value : values) codec::append_framed(bytes_, [&] { codec::append(bytes_, value); });
  });
}

template <Element T>
void Params::add(std::span<const std::optional<T>> values) {
  add_with(codec::TypeOf<T>::array, [&] {
    bool has_null = false;
    for (const auto& value : values) has_null = has_null || !value;
    codec::append_array_head(bytes_, codec::TypeOf<T>::value, values.size(), has_null);
    for (const auto& value : values) {
      if (value) {
        codec::append_framed(bytes_, [&] { codec::append(bytes_, *value); });
      } else {
        codec::append_null(bytes_);
      }
    }
  });
}

void Params::add(const std::vector<bool>& values) {
  add_with(codec::oid_bool_array, [&] {
    codec::append_array_head(bytes_, codec::oid_bool, values.size(), false);
    for (const bool value : values) codec::append_framed(bytes_, [&] { codec::append(bytes_, value); });
  });
}

template <class T>
void Params::add_null() {
  add_null_of(codec::TypeOf<T>::value);
}

Params::Wire Params::wire() const {
  Wire wire;
  wire.values.reserve(offsets_.size());
  for (const std::ptrdiff_t offset : offsets_)
    wire.values.push_back(offset < 0 ? nullptr : bytes_.data() + offset);
  wire.lengths = lengths_;
  wire.formats.assign(offsets_.size(), 1);
  return wire;
}

#define CITADEL_PG_ELEMENT(T)                                      \
  template void Params::add<T>(std::span<const T>);                \
  template void Params::add<T>(std::span<const std::optional<T>>); \
  template void Params::add_null<T>();                             \
  template void Params::add_null<std::vector<T>>()
CITADEL_PG_ELEMENT(std::int16_t);
CITADEL_PG_ELEMENT(std::int32_t);
CITADEL_PG_ELEMENT(std::int64_t);
CITADEL_PG_ELEMENT(double);
CITADEL_PG_ELEMENT(std::string);
CITADEL_PG_ELEMENT(std::string_view);
CITADEL_PG_ELEMENT(Bytes);
CITADEL_PG_ELEMENT(Uuid);
CITADEL_PG_ELEMENT(WallTime);
#undef CITADEL_PG_ELEMENT
template void Params::add_null<bool>();
template void Params::add_null<std::vector<bool>>();

}  // namespace citadel::pg
