#include "store/migrations.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "crypto/sha256.hpp"
#include "pg/transaction.hpp"

namespace citadel::store {
namespace {

// "citadel" in ASCII: the key of the advisory lock under which migrations run.
constexpr std::int64_t lock_key = 0x63697461'64656cLL;

constexpr pg::Statement take_lock{"migration lock", "select pg_advisory_lock($1)"};
constexpr pg::Statement release_lock{"migration unlock", "select pg_advisory_unlock($1)"};
constexpr pg::Statement has_table{"migration table", "select to_regclass('citadel.migration') is not null"};
constexpr pg::Statement read_applied{
    "migration list", "select version, name, checksum, applied_at from citadel.migration order by version"};
constexpr pg::Statement record_applied{
    "migration record", "insert into citadel.migration (version, name, checksum) values ($1, $2, $3)"};
constexpr pg::Statement has_trail{"migration trail", "select to_regclass('audit.pending') is not null"};
// Of the migration that makes the trail also those before it, which nobody could record then.
constexpr pg::Statement record_entry{
    "migration entry",
    "insert into audit.pending (action, object_type, object, details) "
    "select 'migration.apply', 'migration', to_char(version, 'FM0000') || '_' || name, "
    "json_build_object('version', version, 'name', name, 'sha256', checksum, 'applied_at', applied_at) "
    "from citadel.migration where version = $1 or $2 order by version"};
constexpr pg::Statement record_definition{
    "migration definition",
    "insert into citadel.schema_definition (only_row, lines) values (true, $1) "
    "on conflict (only_row) do update set lines = excluded.lines, recorded_at = now()"};
constexpr pg::Statement read_definition{"migration definition read",
                                        "select lines from citadel.schema_definition"};

constexpr std::string_view bootstrap = R"(
create schema if not exists citadel;
create table if not exists citadel.migration (
  version int primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);
comment on table citadel.migration is 'Migrations that were applied, with the SHA-256 of their text.';
create table if not exists citadel.schema_definition (
  only_row boolean primary key check (only_row),
  lines text[] not null,
  recorded_at timestamptz not null default now()
);
comment on table citadel.schema_definition is
  'What every object of Citadel''s schemas was after the last migration; drift is the difference to it.';
)";

// Each object of Citadel's schemas as one line. Partitions come and go with the months, so they and what
// hangs on them are left out.
constexpr pg::Statement describe_schema{"schema definition", R"(
with space as (select oid, nspname from pg_namespace where nspname in ('citadel', 'usage', 'audit', 'access')),
relation as (
  select c.oid, n.nspname || '.' || c.relname as name, c.relkind, c.relacl, c.relrowsecurity, c.relforcerowsecurity
  from pg_class c join space n on n.oid = c.relnamespace
  where not c.relispartition and c.relkind in ('r', 'p', 'v', 'm', 'S'))
select line from (
  select 'relation ' || name || ' kind ' || relkind::text || ' row security ' || relrowsecurity || '/' || relforcerowsecurity
         || ' grants ' || coalesce(array(select a::text from unnest(relacl) a order by 1)::text, '{}') as line
  from relation
  union all
  select 'column ' || r.name || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
         || case when a.attnotnull then ' not null' else '' end
         || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
  from relation r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
  union all
  select 'constraint ' || r.name || '.' || c.conname || ' ' || pg_get_constraintdef(c.oid)
  from relation r join pg_constraint c on c.conrelid = r.oid
  union all
  select 'index ' || pg_get_indexdef(i.indexrelid) from relation r join pg_index i on i.indrelid = r.oid
  union all
  select 'trigger ' || r.name || ' ' || pg_get_triggerdef(t.oid)
  from relation r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
  union all
  select 'policy ' || r.name || '.' || p.polname || ' ' || p.polcmd::text || ' of ' || p.polroles::regrole[]::text || ' sees '
         || coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' writes ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
  from relation r join pg_policy p on p.polrelid = r.oid
  union all
  select 'view ' || r.name || ' ' || md5(pg_get_viewdef(r.oid)) from relation r where r.relkind in ('v', 'm')
  union all
  select 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') '
         || md5(pg_get_functiondef(p.oid)) || ' grants '
         || coalesce(array(select a::text from unnest(p.proacl) a order by 1)::text, 'default')
  from pg_proc p join space n on n.oid = p.pronamespace where p.prokind in ('f', 'p')
) as lines order by line)"};

struct Applied {
  std::string name;
  std::string checksum;
  WallTime at;
};

Task<Result<std::map<int, Applied>>> read_all_applied(pg::Connection& connection, Deadline deadline) {
  std::map<int, Applied> applied;
  CITADEL_CO_ASSIGN(const auto exists, co_await connection.execute(has_table, {}, deadline));
  if (!exists[0].get<bool>(0)) co_return applied;
  CITADEL_CO_ASSIGN(const auto rows, co_await connection.execute(read_applied, {}, deadline));
  for (const pg::Row row : rows) {
    applied[row.get<int>(0)] = {row.get<std::string>(1), row.get<std::string>(2), row.get<WallTime>(3)};
  }
  co_return applied;
}

std::string checksum_of(const Migration& migration) {
  return to_hex(crypto::sha256(as_bytes(migration.sql)));
}

std::vector<MigrationStatus> compare(std::span<const Migration> migrations,
                                     const std::map<int, Applied>& applied) {
  std::vector<MigrationStatus> out;
  for (const auto& migration : migrations) {
    MigrationStatus status{migration.version, std::string(migration.name), MigrationState::pending, {}};
    if (const auto found = applied.find(migration.version); found != applied.end()) {
      const bool same = found->second.checksum == checksum_of(migration);
      status.state = same ? MigrationState::applied : MigrationState::edited;
      status.applied_at = found->second.at;
    }
    out.push_back(std::move(status));
  }
  const int newest = migrations.empty() ? 0 : migrations.back().version;
  for (const auto& [version, entry] : applied) {
    if (version > newest) out.push_back({version, entry.name, MigrationState::unknown, entry.at});
  }
  return out;
}

Result<void> refuse_unsafe(const std::vector<MigrationStatus>& all) {
  for (const auto& status : all) {
    if (status.state == MigrationState::edited) {
      return fail(Code::conflict,
                  fmt::format("migration {:04}_{} was applied to this database with another text; a "
                              "migration is never edited, add a new one",
                              status.version, status.name));
    }
    if (status.state == MigrationState::unknown) {
      return fail(Code::conflict,
                  fmt::format("this database has migration {:04}_{}, which this binary does not know; "
                              "it was migrated by a newer Citadel: install that version",
                              status.version, status.name));
    }
  }
  return {};
}

Task<Result<std::vector<std::string>>> read_schema_lines(pg::Connection& connection, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto rows, co_await connection.execute(describe_schema, {}, deadline));
  std::vector<std::string> lines;
  for (const pg::Row row : rows) lines.push_back(row.get<std::string>(0));
  std::ranges::sort(lines);
  co_return lines;
}

Task<Result<void>> apply(pg::Connection& connection, const Migration& migration, bool last,
                         Deadline deadline) {
  CITADEL_CO_ASSIGN(auto transaction, co_await pg::Transaction::begin(connection, {}, deadline));
  CITADEL_CO_ASSIGN(const auto trail_before, co_await transaction.execute(has_trail, {}, deadline));
  auto applied = co_await transaction.execute_simple(migration.sql, deadline);
  if (!applied) {
    static_cast<void>(co_await transaction.rollback(deadline));
    co_return std::unexpected(
        std::move(applied).error().in(fmt::format("migration {:04}_{}", migration.version, migration.name)));
  }
  const pg::Params record(migration.version, migration.name, checksum_of(migration));
  CITADEL_CO_TRY(co_await transaction.execute(record_applied, record, deadline));
  CITADEL_CO_ASSIGN(const auto trail, co_await transaction.execute(has_trail, {}, deadline));
  if (trail[0].get<bool>(0)) {
    const pg::Params entry(migration.version, !trail_before[0].get<bool>(0));
    CITADEL_CO_TRY(co_await transaction.execute(record_entry, entry, deadline));
  }
  if (last) {
    CITADEL_CO_ASSIGN(const auto lines, co_await read_schema_lines(connection, deadline));
    pg::Params definition;
    definition.add(lines);
    CITADEL_CO_TRY(co_await transaction.execute(record_definition, definition, deadline));
  }
  co_return co_await transaction.commit(deadline);
}

Task<Result<int>> migrate_locked(pg::Connection& connection, std::span<const Migration> migrations,
                                 Deadline deadline, const std::function<void(const Migration&)>& progress) {
  CITADEL_CO_TRY(co_await connection.execute_simple(bootstrap, deadline));
  CITADEL_CO_ASSIGN(const auto applied, co_await read_all_applied(connection, deadline));
  const auto all = compare(migrations, applied);
  CITADEL_CO_TRY(refuse_unsafe(all));
  int count = 0;
  for (std::size_t i = 0; i < migrations.size(); ++i) {
    if (all[i].state != MigrationState::pending) continue;
    if (progress) progress(migrations[i]);
    CITADEL_CO_TRY(co_await apply(connection, migrations[i], i + 1 == migrations.size(), deadline));
    ++count;
  }
  co_return count;
}

}  // namespace

std::string_view to_string(MigrationState state) {
  switch (state) {
    case MigrationState::applied:
      return "applied";
    case MigrationState::pending:
      return "pending";
    case MigrationState::edited:
      return "edited";
    case MigrationState::unknown:
      return "unknown";
  }
  return "unknown";
}

Task<Result<std::vector<MigrationStatus>>> migration_status(pg::Connection& connection,
                                                            std::span<const Migration> migrations,
                                                            Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto applied, co_await read_all_applied(connection, deadline));
  co_return compare(migrations, applied);
}

Task<Result<int>> migrate(pg::Connection& connection, std::span<const Migration> migrations,
                          Deadline deadline, std::function<void(const Migration&)> progress) {
  if (connection.route() != pg::Route::direct) {
    co_return fail(Code::unsupported,
                   "migrations need a direct connection to PostgreSQL: their lock belongs to a "
                   "session, which Pgpool-II does not promise; set [database.direct]");
  }
  CITADEL_CO_TRY(co_await connection.execute(take_lock, pg::Params(lock_key), deadline));
  auto result = co_await migrate_locked(connection, migrations, deadline, progress);
  // A failed migration leaves the session inside its transaction; the caller closes the session, which frees
  // the lock.
  if (result) CITADEL_CO_TRY(co_await connection.execute(release_lock, pg::Params(lock_key), deadline));
  co_return result;
}

Task<Result<std::vector<std::string>>> find_drift(pg::Connection& connection, Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto rows, co_await connection.execute(read_definition, {}, deadline));
  if (rows.empty())
    co_return fail(Code::not_found, "this database has not been migrated: run citadel migrate");
  auto expected = rows[0].get<std::vector<std::string>>(0);
  std::ranges::sort(expected);
  CITADEL_CO_ASSIGN(const auto found, co_await read_schema_lines(connection, deadline));
  std::vector<std::string> drift;
  std::vector<std::string> part;
  std::ranges::set_difference(expected, found, std::back_inserter(part));
  for (const auto& line : part) drift.push_back("- " + line);
  part.clear();
  std::ranges::set_difference(found, expected, std::back_inserter(part));
  for (const auto& line : part) drift.push_back("+ " + line);
  co_return drift;
}

}  // namespace citadel::store
