#include "json/body.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace citadel::json {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

const BodyLimits limits{
    .noun = "thing", .values_max = 2, .body_bytes_max = 100, .line_bytes_max = 20, .depth_max = 3};

// The values with their paths as "PATH=NUMBER", or the error alone.
std::vector<std::string> read(std::string_view body, BodyForm form) {
  std::vector<std::string> out;
  const auto done =
      for_each_value(body, form, limits, [&](const auto& value, std::string_view path) -> Result<void> {
        if (!value.is_int64()) return fail(Code::conflict, std::string(path) + "/x: no number");
        out.push_back(std::string(path) + "=" + std::to_string(value.get_int64()));
        return {};
      });
  if (!done) return {done.error().message};
  return out;
}

TEST(Body, HoldsOneValueAnArrayOrLines) {
  EXPECT_THAT(read("7", BodyForm::json), ElementsAre("=7"));
  EXPECT_THAT(read("[7,8]", BodyForm::json), ElementsAre("/0=7", "/1=8"));
  EXPECT_THAT(read("\n7\r\n\n8", BodyForm::ndjson), ElementsAre("=7", "=8"));
}

TEST(Body, AnErrorSaysWhere) {
  EXPECT_THAT(read("[7,true]", BodyForm::json), ElementsAre("/1/x: no number"));
  EXPECT_THAT(read("7\n\ntrue", BodyForm::ndjson), ElementsAre("line 3, /x: no number"));
  EXPECT_THAT(read("7\n{", BodyForm::ndjson), ElementsAre(StartsWith("line 2, column 2")));
}

TEST(Body, EachLimitRefusesOneMore) {
  EXPECT_THAT(read("[7,8,9]", BodyForm::json), ElementsAre("the body holds more than 2 things"));
  EXPECT_THAT(read("7\n8\n9", BodyForm::ndjson), ElementsAre("the body holds more than 2 things"));
  EXPECT_THAT(read(std::string(101, ' '), BodyForm::json),
              ElementsAre("the body has 101 bytes; the limit is 100"));
  EXPECT_THAT(read(std::string(101, ' '), BodyForm::ndjson),
              ElementsAre("the body has 101 bytes; the limit is 100"));
  EXPECT_THAT(read("7" + std::string(20, ' '), BodyForm::ndjson),
              ElementsAre("the JSON text has 21 bytes; the limit is 20"));
  EXPECT_THAT(read("[[[[]]]]", BodyForm::json), ElementsAre(StartsWith("line 1, column ")));
}

TEST(Body, WithoutAValueIsRefused) {
  EXPECT_THAT(read("[]", BodyForm::json), ElementsAre("the body holds no thing"));
  EXPECT_THAT(read("\n \n", BodyForm::ndjson), ElementsAre("the body holds no thing"));
  EXPECT_THAT(read("", BodyForm::ndjson), ElementsAre("the body holds no thing"));
}

}  // namespace
}  // namespace citadel::json
