#include "pg/sqlstate.hpp"

#include <gtest/gtest.h>

#include "pg/statement_rules.hpp"

namespace citadel::pg {
namespace {

struct Case {
  std::string_view state;
  Code code;
  Retry retry;
  bool lost = false;
};

TEST(Sqlstate, StatesBecomeCodes) {
  const Case cases[] = {
      {"40001", Code::serialization_failure, Retry::fresh_snapshot},
      {"40P01", Code::deadlock, Retry::fresh_snapshot},
      {"40003", Code::commit_unknown, Retry::never},
      {"23505", Code::conflict, Retry::never},
      {"23P01", Code::conflict, Retry::never},
      {"23503", Code::constraint, Retry::never},
      {"23514", Code::constraint, Retry::never},
      {"22012", Code::invalid_argument, Retry::never},
      {"42501", Code::permission_denied, Retry::never},
      {"42P01", Code::internal, Retry::never},
      {"28P01", Code::unauthenticated, Retry::never},
      {"53100", Code::storage_full, Retry::fresh_snapshot},
      {"53300", Code::unavailable, Retry::safe},
      {"55P03", Code::unavailable, Retry::fresh_snapshot},
      {"57014", Code::statement_timeout, Retry::never},
      {"57P01", Code::connection_lost, Retry::fresh_snapshot, true},
      {"57P02", Code::connection_lost, Retry::fresh_snapshot, true},
      {"57P03", Code::connection_lost, Retry::fresh_snapshot, true},
      {"08006", Code::connection_lost, Retry::fresh_snapshot, true},
      {"08P01", Code::connection_lost, Retry::fresh_snapshot, true},
      {"25P03", Code::connection_lost, Retry::fresh_snapshot, true},
      {"25006", Code::unavailable, Retry::fresh_snapshot},
      {"25P02", Code::internal, Retry::never},
      {"26000", Code::internal, Retry::fresh_snapshot},
      {"0A000", Code::unsupported, Retry::never},
      {"XX000", Code::internal, Retry::never},
      {"XX001", Code::corrupt, Retry::never},
      {"ZZ999", Code::internal, Retry::never},
      {"", Code::internal, Retry::never},
  };
  for (const Case& c : cases) {
    const Classification means = classify(c.state);
    EXPECT_EQ(means.code, c.code) << c.state;
    EXPECT_EQ(means.retry, c.retry) << c.state;
    EXPECT_EQ(means.session_lost, c.lost) << c.state;
  }
}

TEST(Sqlstate, PgpoolsOwnReportsMeanALostSession) {
  const auto report = [](std::string_view message, std::string_view severity = "ERROR") {
    return classify_report({.sqlstate = "XX000", .severity = severity, .message = message});
  };
  EXPECT_EQ(report("unable to forward message to frontend").code, Code::connection_lost);
  EXPECT_EQ(report("unable to read data from DB node 0").code, Code::connection_lost);
  EXPECT_TRUE(report("unable to read data from DB node 0").session_lost);
  EXPECT_EQ(report("cache lookup failed for type 4711").code, Code::internal);
  EXPECT_EQ(report("cache lookup failed for type 4711", "FATAL").code, Code::connection_lost);
}

TEST(Sqlstate, AReportWithoutAStateIsALostSession) {
  const auto means =
      classify_report({.sqlstate = "", .severity = "", .message = "server closed the connection"});
  EXPECT_EQ(means.code, Code::connection_lost);
  EXPECT_TRUE(means.session_lost);
}

TEST(Sqlstate, WhileConnectingNothingWasBegun) {
  const auto refused = [](std::string_view state) {
    return classify_report({.sqlstate = state, .severity = "FATAL", .message = "", .connecting = true});
  };
  EXPECT_EQ(refused("28P01").code, Code::unauthenticated);
  EXPECT_EQ(refused("28P01").retry, Retry::never);
  EXPECT_EQ(refused("3D000").code, Code::not_found);
  EXPECT_EQ(refused("57P03").code, Code::unavailable);
  EXPECT_EQ(refused("57P03").retry, Retry::safe);
  EXPECT_EQ(refused("").code, Code::unavailable);
}

TEST(StatementRules, PgpoolRefusesWhatOneBackendOnlyWouldSee) {
  for (const std::string_view sql :
       {"LISTEN changes", " listen changes", "/* x */ UNLISTEN *", "-- x\n SET search_path TO a",
        "set statement_timeout=1", "RESET ALL", "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)", "; SET a = 1"}) {
    const auto refused = check_allowed(Route::pgpool, sql);
    ASSERT_FALSE(refused) << sql;
    EXPECT_EQ(refused.error().code, Code::unsupported) << sql;
    EXPECT_TRUE(check_allowed(Route::direct, sql)) << sql;
  }
  for (const std::string_view sql :
       {"SET LOCAL search_path TO a", "SET TRANSACTION READ ONLY", "set constraints all deferred", "SELECT 1",
        "", "SELECT pg_advisory_xact_lock(1)", "settle", "/* unfinished", "UPDATE t SET a = 1"}) {
    EXPECT_TRUE(check_allowed(Route::pgpool, sql)) << sql;
  }
}

}  // namespace
}  // namespace citadel::pg
