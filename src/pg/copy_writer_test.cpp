#include "pg/copy_writer.hpp"

#include <gtest/gtest.h>

namespace citadel::pg {
namespace {

using namespace std::string_literals;

const std::string header = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"s;

TEST(CopyWriter, AnEmptyStreamIsHeaderAndTrailer) {
  CopyWriter writer;
  writer.finish();
  EXPECT_EQ(writer.view(), header + "\xff\xff"s);
  EXPECT_EQ(writer.rows(), 0);
}

TEST(CopyWriter, ARowIsItsCountAndFramedFields) {
  CopyWriter writer;
  writer.row(std::int32_t{7}, "ab", std::optional<std::int64_t>(), true);
  writer.finish();
  EXPECT_EQ(writer.view(), header + "\0\4"s + "\0\0\0\4\0\0\0\7"s + "\0\0\0\2ab"s + "\xff\xff\xff\xff"s +
                               "\0\0\0\1\1"s + "\xff\xff"s);
  EXPECT_EQ(writer.rows(), 1);
}

TEST(CopyWriter, JsonbCarriesItsVersionAndArraysTheirHead) {
  CopyWriter writer;
  writer.clear();
  writer.row(Jsonb{"{}"}, std::vector<std::int16_t>{5});
  EXPECT_EQ(writer.view(), "\0\2"s + "\0\0\0\3\1{}"s + "\0\0\0\x1a"s + "\0\0\0\1"s + "\0\0\0\0"s +
                               "\0\0\0\x15"s + "\0\0\0\1"s + "\0\0\0\1"s + "\0\0\0\2\0\5"s);
}

TEST(CopyWriter, ClearKeepsThePlaceInTheStream) {
  CopyWriter writer;
  writer.clear();
  writer.row(std::int16_t{1});
  EXPECT_EQ(writer.view(), "\0\1\0\0\0\2\0\1"s);
  writer.clear();
  writer.finish();
  EXPECT_EQ(writer.view(), "\xff\xff"s);
}

TEST(CopyWriterDeathTest, RowsMustBeWhole) {
  CopyWriter writer;
  writer.begin_row(2);
  writer.field(std::int16_t{1});
  EXPECT_DEATH(writer.begin_row(1), "not complete");
  EXPECT_DEATH(writer.finish(), "not complete");
  writer.null();
  EXPECT_DEATH(writer.null(), "more fields");
  EXPECT_DEATH(writer.begin_row(1'601), "1,600");
  writer.finish();
  EXPECT_DEATH(writer.begin_row(1), "has ended");
}

}  // namespace
}  // namespace citadel::pg
