#include "pg/detail/failure.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "pg/sqlstate.hpp"

namespace citadel::pg {
namespace {

std::string_view field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text != nullptr ? std::string_view(text) : std::string_view();
}

std::string one_line(std::string_view text) {
  std::string line(text);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  std::ranges::replace(line, '\n', ' ');
  std::erase(line, '\t');
  return line;
}

// libpq does not print the password, but some of what it prints came from the network.
std::string without(std::string text, const Secret& password) {
  if (password.empty()) return text;
  for (auto at = text.find(password.reveal()); at != std::string::npos;
       at = text.find(password.reveal(), at + 3)) {
    text.replace(at, password.reveal().size(), "***");
  }
  return text;
}

// The state that libpq prints in no field while connecting is told from the text that goes with it.
std::string_view connect_state(std::string_view message) {
  struct Words {
    std::string_view text;
    std::string_view state;
  };
  static constexpr Words words[] = {
      {"password authentication failed", "28P01"},
      {"no password supplied", "28P01"},
      {"authentication failed", "28000"},
      {"no pg_hba.conf entry", "28000"},
      {"no pool_hba.conf entry", "28000"},
      {"is not permitted to log in", "28000"},
      {"\" does not exist", ""},
      {"certificate verify failed", "28000"},
      {"does not match host name", "28000"},
      {"root certificate file", "28000"},
      {"server does not support SSL", "28000"},
      {"too many clients", "53300"},
      {"remaining connection slots", "53300"},
      {"the database system is", "57P03"},
  };
  for (const Words& w : words) {
    if (message.find(w.text) == std::string_view::npos) continue;
    if (!w.state.empty()) return w.state;
    return message.find("database \"") != std::string_view::npos ? "3D000" : "28000";
  }
  return "";
}

}  // namespace

Failure failure_of(const PGresult* result) {
  const std::string_view state = field(result, PG_DIAG_SQLSTATE);
  std::string message(field(result, PG_DIAG_MESSAGE_PRIMARY));
  if (message.empty()) message = one_line(PQresultErrorMessage(result));
  const Classification means = classify_report(
      {.sqlstate = state, .severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED), .message = message});
  Failure failure{Error(means.code, std::move(message), means.retry), means.session_lost};
  if (state.size() == 5) std::memcpy(failure.error.sqlstate, state.data(), 5);
  failure.error.detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  if (const auto hint = field(result, PG_DIAG_MESSAGE_HINT); !hint.empty()) {
    if (!failure.error.detail.empty()) failure.error.detail += "; ";
    failure.error.detail += hint;
  }
  if (is_stale_plan(result)) failure.error.retry = Retry::fresh_snapshot;
  return failure;
}

Failure failure_of(const PGconn* connection, bool connecting, const Secret& password) {
  std::string message = without(one_line(PQerrorMessage(connection)), password);
  if (message.empty()) message = "the server closed the connection";
  const std::string_view state = connecting ? connect_state(message) : "";
  const Classification means =
      classify_report({.sqlstate = state, .severity = {}, .message = message, .connecting = connecting});
  Failure failure{Error(means.code, std::move(message), means.retry), means.session_lost};
  if (state.size() == 5) std::memcpy(failure.error.sqlstate, state.data(), 5);
  return failure;
}

bool is_stale_plan(const PGresult* result) {
  return field(result, PG_DIAG_SQLSTATE) == "0A000" &&
         field(result, PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery";
}

}  // namespace citadel::pg
