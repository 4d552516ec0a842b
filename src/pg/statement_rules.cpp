#include "pg/statement_rules.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace citadel::pg {
namespace {

constexpr std::string_view blanks = " \t\r\n\f;";

// `sql` without the blanks and comments in front.
std::string_view skip_blanks(std::string_view sql) {
  for (;;) {
    const auto start = sql.find_first_not_of(blanks);
    if (start == std::string_view::npos) return {};
    sql.remove_prefix(start);
    std::string_view end;
    if (sql.starts_with("--")) {
      end = "\n";
    } else if (sql.starts_with("/*")) {
      end = "*/";
    } else {
      return sql;
    }
    const auto at = sql.find(end);
    if (at == std::string_view::npos) return {};
    sql.remove_prefix(at + end.size());
  }
}

// The next word in lower case, which leaves `sql`.
std::string take_word(std::string_view& sql) {
  sql = skip_blanks(sql);
  const auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto end = std::ranges::find_if_not(sql, is_word) - sql.begin();
  std::string word(sql.substr(0, static_cast<std::size_t>(end)));
  for (char& c : word) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  sql.remove_prefix(static_cast<std::size_t>(end));
  return word;
}

constexpr auto session_locks = std::to_array<std::string_view>(
    {"pg_advisory_lock", "pg_try_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock_shared"});

bool takes_session_lock(std::string_view sql) {
  return std::ranges::any_of(session_locks, [&](std::string_view name) {
    for (auto at = sql.find(name); at != std::string_view::npos; at = sql.find(name, at + 1)) {
      if (sql.substr(at + name.size()).starts_with('(')) return true;
    }
    return false;
  });
}

}  // namespace

Result<void> check_allowed(Route route, std::string_view sql) {
  if (route == Route::direct) return {};
  std::string_view rest = sql;
  const std::string verb = take_word(rest);
  if (verb == "listen" || verb == "unlisten") {
    return fail(Code::unsupported, "LISTEN needs a direct connection, not one through Pgpool-II");
  }
  if (verb == "set" || verb == "reset") {
    const std::string what = take_word(rest);
    if (verb == "reset" || (what != "local" && what != "transaction" && what != "constraints")) {
      return fail(Code::unsupported,
                  "a session setting through Pgpool-II reaches one backend only: use SET LOCAL");
    }
  }
  if (takes_session_lock(sql)) {
    return fail(Code::unsupported,
                "a session's advisory lock needs a direct connection: use pg_advisory_xact_lock");
  }
  return {};
}

}  // namespace citadel::pg
