#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/api.hpp"
#include "base/log.hpp"

namespace citadel::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Answered {
  http::Response response;
  std::string log;
};

Answered answer(const Error& error) {
  http::Request request;
  request.target = "/v1/usage?group_by=model";
  request.request_id = "request-7";
  testing::internal::CaptureStderr();
  auto response = read_problem(request, error);
  return {std::move(response), testing::internal::GetCapturedStderr()};
}

Error from_database(Code code, std::string message, std::string_view sqlstate) {
  Error error(code, std::move(message));
  sqlstate.copy(error.sqlstate, 5);
  return error;
}

// The answer sends the reader to the log, so the log must have it.
TEST(ReadProblem, AnErrorOfOursIsLoggedUnderTheIdThatTheClientIsTold) {
  for (const auto code : {Code::internal, Code::io_error, Code::corrupt}) {
    const auto [response, log] = answer(Error(code, "page 7 is upside down"));
    EXPECT_EQ(response.status, 500);
    EXPECT_THAT(response.body, AllOf(HasSubstr("request-7"), Not(HasSubstr("upside down"))));
    EXPECT_THAT(log,
                AllOf(HasSubstr("request-7"), HasSubstr("page 7 is upside down"), HasSubstr("/v1/usage")));
  }
}

TEST(ReadProblem, WhatTheDatabaseSaysOfItselfIsForTheLogOnly) {
  const std::tuple<Code, const char*, int> refusals[] = {{Code::not_found, "42P01", 503},
                                                         {Code::permission_denied, "42501", 503},
                                                         {Code::internal, "42703", 503},
                                                         {Code::invalid_argument, "22003", 500}};
  for (const auto& [code, sqlstate, status] : refusals) {
    const auto [response, log] = answer(from_database(code, "relation usage.secret", sqlstate));
    EXPECT_EQ(response.status, status) << sqlstate;
    EXPECT_THAT(response.body, AllOf(HasSubstr("request-7"), Not(HasSubstr("usage.secret")))) << sqlstate;
    EXPECT_THAT(log, AllOf(HasSubstr("request-7"), HasSubstr("usage.secret"), HasSubstr(sqlstate)));
  }
}

TEST(ReadProblem, WhatTheClientIsToldIsNotLogged) {
  const auto missing = answer(Error(Code::not_found, "no such request"));
  EXPECT_EQ(missing.response.status, 404);
  EXPECT_THAT(missing.response.body, HasSubstr("no such request"));
  EXPECT_THAT(missing.log, IsEmpty());
  const auto late = answer(from_database(Code::statement_timeout, "too slow", "57014"));
  EXPECT_EQ(late.response.status, 504);
  EXPECT_THAT(late.log, IsEmpty());
}

}  // namespace
}  // namespace citadel::app
