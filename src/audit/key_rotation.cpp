#include "audit/key_rotation.hpp"

#include <fmt/format.h>

namespace citadel::audit {
namespace {

constexpr pg::Statement select_old{
    "audit keys to rotate",
    "select id, tenant, subject, wrapped_key from audit.subject_key "
    "where id > $1 and destroyed_at is null and wrapped_by is distinct from $2 order by id limit $3"};
constexpr pg::Statement rewrap{"audit keys rotate", "select audit.rewrap_subject_keys($1, $2, $3, $4, $5)"};
constexpr pg::Statement count_keys{
    "audit keys rotated",
    "select count(*) filter (where wrapped_by = $1), count(*) filter (where wrapped_by is distinct from $1) "
    "from audit.subject_key where destroyed_at is null"};

struct Step {
  std::int64_t last = 0;  // the id to go on behind; 0 where nothing was left
  std::uint64_t keys = 0;
};

Task<Result<Step>> rotate_some(pg::Transaction& transaction, const AuditKeys& keys, std::int64_t after,
                               std::size_t count_max, const Caller& caller, Deadline deadline) {
  CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
  const Bytes master = as_bytes(keys.newest_id);
  CITADEL_CO_ASSIGN(
      const pg::Rows rows,
      co_await transaction.execute(
          select_old, pg::Params(after, master, static_cast<std::int64_t>(count_max)), deadline));
  if (rows.empty()) co_return Step{};
  std::vector<std::int64_t> ids;
  std::vector<Bytes> before, after_bytes;
  std::vector<std::string> wrapped;
  for (const pg::Row row : rows) {
    const auto tenant = row.get<std::string_view>(1), subject = row.get<std::string_view>(2);
    CITADEL_CO_ASSIGN(const auto key, unwrap_subject_key(keys, tenant, subject, row.get<Bytes>(3)));
    ids.push_back(row.get<std::int64_t>(0));
    before.push_back(row.get<Bytes>(3));
    wrapped.push_back(wrap_subject_key(keys, tenant, subject, key));
  }
  for (const std::string& bytes : wrapped) after_bytes.push_back(as_bytes(bytes));
  CITADEL_CO_ASSIGN(const pg::Rows done,
                    co_await transaction.execute(
                        rewrap, pg::Params(ids, before, after_bytes, master, caller.text()), deadline));
  co_return Step{ids.back(), static_cast<std::uint64_t>(done[0].get<std::int64_t>(0))};
}

}  // namespace

Task<Result<KeyRotation>> rotate_subject_keys(store::Database& database,
                                              std::shared_ptr<const AuditKeys> keys, Caller caller,
                                              Deadline deadline, std::size_t batch_max) {
  KeyRotation out{.master = to_hex(as_bytes(keys->newest_id))};
  for (std::int64_t after = 0;;) {
    CITADEL_CO_ASSIGN(
        const Step step,
        co_await database.transact<Step>(
            deadline, store::Intent::write, {.name = "audit keys rotate"}, [&](pg::Transaction& transaction) {
              return rotate_some(transaction, *keys, after, batch_max, caller, deadline);
            }));
    if (step.last == 0) break;
    after = step.last;
    out.keys += step.keys;
  }
  CITADEL_CO_ASSIGN(out.leftovers, co_await rotate_leftovers(database, keys, caller, deadline));
  CITADEL_CO_ASSIGN(const pg::Rows counts,
                    co_await database.query(deadline, store::Intent::read_your_writes, count_keys,
                                            pg::Params(as_bytes(keys->newest_id))));
  out.alive = static_cast<std::uint64_t>(counts[0].get<std::int64_t>(0));
  const auto left = counts[0].get<std::int64_t>(1);
  if (left > 0) {
    co_return fail(Code::conflict,
                   fmt::format("{} keys were made under an older master key meanwhile: give all daemons the "
                               "newest first, restart them, and rotate again",
                               left));
  }
  co_return out;
}

}  // namespace citadel::audit
