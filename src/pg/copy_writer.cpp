#include "pg/copy_writer.hpp"

#include "base/check.hpp"
#include "pg/detail/codec.hpp"

namespace citadel::pg {
namespace {

constexpr std::string_view signature("PGCOPY\n\377\r\n\0", 11);
constexpr std::size_t columns_max = 1'600;  // PostgreSQL's own limit

}  // namespace

CopyWriter::CopyWriter() {
  bytes_.append(signature);
  append_be(bytes_, std::int32_t{0});  // flags: no OIDs
  append_be(bytes_, std::int32_t{0});  // length of the header's extension
}

void CopyWriter::begin_row(std::size_t columns) {
  CITADEL_CHECK(fields_due_ == 0 && !finished_, "the row before it is not complete, or the stream has ended");
  CITADEL_CHECK(columns > 0 && columns <= columns_max, "a table has 1 to 1,600 columns");
  append_be(bytes_, static_cast<std::int16_t>(columns));
  fields_due_ = columns;
  ++rows_;
}

template <class T>
void CopyWriter::put(const T& value) {
  CITADEL_CHECK(fields_due_ > 0, "more fields than begin_row() announced");
  --fields_due_;
  codec::append_framed(bytes_, [&] { codec::append(bytes_, value); });
}

void CopyWriter::field_bool(bool value) {
  put(value);
}
void CopyWriter::field(std::int16_t value) {
  put(value);
}
void CopyWriter::field(std::int32_t value) {
  put(value);
}
void CopyWriter::field(std::int64_t value) {
  put(value);
}
void CopyWriter::field(double value) {
  put(value);
}
void CopyWriter::field(std::string_view value) {
  put(value);
}
void CopyWriter::field(Bytes value) {
  put(value);
}
void CopyWriter::field(const Uuid& value) {
  put(value);
}
void CopyWriter::field(WallTime value) {
  put(value);
}

void CopyWriter::field(Jsonb value) {
  CITADEL_CHECK(fields_due_ > 0, "more fields than begin_row() announced");
  --fields_due_;
  codec::append_framed(bytes_, [&] {
    bytes_.push_back('\1');  // jsonb's format version
    bytes_.append(value.text);
  });
}

template <Element T>
void CopyWriter::field(std::span<const T> values) {
  CITADEL_CHECK(fields_due_ > 0, "more fields than begin_row() announced");
  --fields_due_;
  codec::append_framed(bytes_, [&] {
    codec::append_array_head(bytes_, codec::TypeOf<T>::value, values.size(), false);
    for (const T& value : values) codec::append_framed(bytes_, [&] { codec::append(bytes_, value); });
  });
}

template void CopyWriter::field<std::int16_t>(std::span<const std::int16_t>);
template void CopyWriter::field<std::int32_t>(std::span<const std::int32_t>);
template void CopyWriter::field<std::int64_t>(std::span<const std::int64_t>);
template void CopyWriter::field<double>(std::span<const double>);
template void CopyWriter::field<std::string>(std::span<const std::string>);
template void CopyWriter::field<std::string_view>(std::span<const std::string_view>);
template void CopyWriter::field<Bytes>(std::span<const Bytes>);
template void CopyWriter::field<Uuid>(std::span<const Uuid>);
template void CopyWriter::field<WallTime>(std::span<const WallTime>);

void CopyWriter::null() {
  CITADEL_CHECK(fields_due_ > 0, "more fields than begin_row() announced");
  --fields_due_;
  codec::append_null(bytes_);
}

void CopyWriter::finish() {
  CITADEL_CHECK(fields_due_ == 0 && !finished_, "the last row is not complete, or the stream has ended");
  append_be(bytes_, std::int16_t{-1});
  finished_ = true;
}

}  // namespace citadel::pg
