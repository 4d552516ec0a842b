// Error and Result: how every expected failure in Citadel travels.
//
// An Error says what went wrong in one flat shape: a code (what a caller decides on), an SQLSTATE where
// PostgreSQL gave one, whether doing it again is safe, where it happened, and a sentence with what to do.
// There is no class hierarchy: callers switch on `code`, logs print all of it.
//
//   Result<int> parse(std::string_view text);
//   auto port = parse(text);
//   if (!port) return std::unexpected(port.error().in("parse http.listen"));
//
// Both types are values; there is no shared state, so any thread may hold one.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace citadel {

enum class Code : std::uint8_t {
  invalid_argument,   // the caller's input; will fail again unchanged
  not_found,          // the thing named is not there
  conflict,           // exists already with other content, or a unique or exclusion constraint refused
  constraint,         // another integrity constraint refused (not null, check, foreign key)
  unauthenticated,    // no credential, or one that is not valid
  permission_denied,  // a valid credential without the right
  deadline_exceeded,  // our own deadline ended it; outside COMMIT nothing was committed
  cancelled,          // somebody asked for the end: shutdown, a closed client
  overloaded,   // a local limit: queue full, acquire timed out, budget spent. Never held against the database
  unavailable,  // the other side cannot be reached or is not accepting work
  connection_lost,        // the session broke outside COMMIT; its transaction is rolled back
  commit_unknown,         // the session broke inside COMMIT; never retried blindly, see pg/transaction.hpp
  serialization_failure,  // 40001: run the whole transaction again
  deadlock,               // 40P01: run the whole transaction again
  statement_timeout,      // 57014 by statement_timeout or by a cancel that we sent
  storage_full,           // 53100, ENOSPC, or a journal at its limit
  io_error,               // the operating system refused a read or write
  corrupt,                // bytes on disk or on the wire are not what was written
  unsupported,            // a version or feature that is not there
  internal,               // a bug in Citadel
};

// The code's name as logs, metrics and problem+json print it, for example "commit_unknown".
std::string_view to_string(Code code);

// Whether the same call may be made again without doing its work twice.
enum class Retry : std::uint8_t {
  never,           // it would fail again, or might do the work twice
  safe,            // nothing was done: retry with backoff
  fresh_snapshot,  // the transaction was rolled back: run all of it again
};

struct Error {
  Code code = Code::internal;
  std::string message;  // one sentence: what, and what to do where that is known
  Retry retry = Retry::never;
  char sqlstate[6] = {};  // five characters and NUL, empty where PostgreSQL gave none
  std::string where;      // innermost first, joined by " < ": "execute select_one < GET /v1/requests/{id}"
  std::string detail;     // the server's DETAIL and HINT; may hold values of rows, so never sent to clients

  Error() = default;
  Error(Code c, std::string text, Retry r = Retry::never) : code(c), message(std::move(text)), retry(r) {}

  // The same error with one more place at the end of `where`.
  Error in(std::string_view place) &&;
  Error in(std::string_view place) const&;

  // "deadlock (40P01): deadlock detected [execute update_budget]"
  std::string to_string() const;
};

template <class T>
struct [[nodiscard]] Result : std::expected<T, Error> {
  using std::expected<T, Error>::expected;
  using std::expected<T, Error>::operator=;
  Result(std::expected<T, Error> other) : std::expected<T, Error>(std::move(other)) {}
};

// return fail(Code::not_found, "no request has this id");
[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string message, Retry retry = Retry::never) {
  return std::unexpected(Error(code, std::move(message), retry));
}

// Fails with the text of errno value `error_number`: ENOSPC and EDQUOT become storage_full, EACCES and EPERM
// permission_denied, ENOENT not_found, all else io_error. `what` names the file and the action.
[[nodiscard]] std::unexpected<Error> fail_errno(int error_number, std::string_view what);

}  // namespace citadel

// Leaves the function with the error of `expr`, or goes on. The CO_ forms are for coroutines.
#define CITADEL_TRY(expr)                                       \
  do {                                                          \
    if (auto citadel_try_ = (expr); !citadel_try_) [[unlikely]] \
      return std::unexpected(std::move(citadel_try_).error());  \
  } while (false)
#define CITADEL_CO_TRY(expr)                                      \
  do {                                                            \
    if (auto citadel_try_ = (expr); !citadel_try_) [[unlikely]]   \
      co_return std::unexpected(std::move(citadel_try_).error()); \
  } while (false)
// CITADEL_ASSIGN(auto port, parse(text)); declares port, or leaves with the error.
#define CITADEL_CONCAT_(a, b) a##b
#define CITADEL_CONCAT(a, b) CITADEL_CONCAT_(a, b)
#define CITADEL_ASSIGN_(temporary, declaration, expr, keyword) \
  auto temporary = (expr);                                     \
  if (!temporary) [[unlikely]]                                 \
    keyword std::unexpected(std::move(temporary).error());     \
  declaration = *std::move(temporary)
#define CITADEL_ASSIGN(declaration, ...) \
  CITADEL_ASSIGN_(CITADEL_CONCAT(citadel_assign_, __LINE__), declaration, (__VA_ARGS__), return)
#define CITADEL_CO_ASSIGN(declaration, ...) \
  CITADEL_ASSIGN_(CITADEL_CONCAT(citadel_assign_, __LINE__), declaration, (__VA_ARGS__), co_return)
