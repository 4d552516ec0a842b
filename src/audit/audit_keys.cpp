#include "audit/audit_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.hpp"
#include "crypto/hmac.hpp"

namespace citadel::audit {
namespace {

constexpr pg::Statement insert_keys{
    "audit subject keys make",
    "insert into audit.subject_key (tenant, subject, wrapped_key, wrapped_by) "
    "select k.*, $4 from unnest($1::text[], $2::text[], $3::bytea[]) as k (tenant, subject, wrapped_key) "
    "order by tenant, subject on conflict (tenant, subject) where destroyed_at is null do nothing"};
constexpr pg::Statement select_keys{
    "audit subject keys",
    "select k.* from unnest($1::text[], $2::text[]) as n (tenant, subject) cross join lateral "
    "(select id, tenant, subject, wrapped_key from audit.subject_key where tenant = n.tenant and subject = "
    "n.subject "
    "and destroyed_at is null offset 0) k"};
constexpr pg::Statement select_alive{
    "audit subject keys alive",
    "select id from audit.subject_key where id = any($1) and destroyed_at is null"};

constexpr std::string_view master_id_label = "citadel/audit/master-key-id/v1";
constexpr std::size_t master_id_bytes = 8;

// What a wrapped key is bound to, so that no key can be given to another subject.
std::string context_of(std::string_view tenant, std::string_view subject) {
  std::string context;
  append_be<std::uint32_t>(context, static_cast<std::uint32_t>(tenant.size()));
  return context.append(tenant).append(subject);
}

std::pair<std::vector<std::string>, std::vector<std::string>> columns_of(
    const std::vector<SubjectKeys::Name>& names) {
  std::pair<std::vector<std::string>, std::vector<std::string>> columns;
  for (const auto& [tenant, subject] : names) {
    columns.first.push_back(tenant);
    columns.second.push_back(subject);
  }
  return columns;
}

}  // namespace

std::shared_ptr<const AuditKeys> AuditKeys::derive(std::span<const crypto::AesGcmKey> masters) {
  CITADEL_CHECK(!masters.empty(), "the audit trail needs a master key");
  auto keys = std::make_shared<AuditKeys>();
  for (const auto& master : masters) {
    keys->journal.push_back(journal_key(master));
    keys->subject.push_back(subject_wrapping_key(master));
  }
  const auto digest = crypto::hmac_sha256(masters.front().bytes(), as_bytes(master_id_label));
  keys->newest_id = as_text(Bytes(digest).first(master_id_bytes));
  return keys;
}

Result<crypto::AesGcmKey> unwrap_subject_key(const AuditKeys& keys, std::string_view tenant,
                                             std::string_view subject, Bytes wrapped) {
  const std::string context = context_of(tenant, subject);
  for (const auto& wrapping : keys.subject) {
    auto raw = crypto::open_random(wrapping, as_bytes(context), wrapped);
    if (!raw || raw->size() != crypto::AesGcmKey::size_bytes) continue;
    const Secret wiped(*std::move(raw));
    return crypto::AesGcmKey(as_bytes(wiped.reveal()).first<crypto::AesGcmKey::size_bytes>());
  }
  return fail(
      Code::corrupt,
      "a subject's key in audit.subject_key was wrapped by another master key, or was changed: give the "
      "daemon the master key that this database was begun with, too");
}

std::string wrap_subject_key(const AuditKeys& keys, std::string_view tenant, std::string_view subject,
                             const crypto::AesGcmKey& key) {
  return crypto::seal_random(keys.subject.front(), as_bytes(context_of(tenant, subject)), key.bytes());
}

Task<Result<void>> SubjectKeys::ensure(store::Database& database, std::vector<Name> names,
                                       Deadline deadline) {
  std::erase_if(names, [&](const Name& name) { return known_.contains(name); });
  std::ranges::sort(names);
  const auto repeats = std::ranges::unique(names);
  names.erase(repeats.begin(), repeats.end());
  if (names.empty()) co_return Result<void>();
  if (known_.size() + names.size() > remembered_max_) known_.clear();

  const auto [tenants, subjects] = columns_of(names);
  std::vector<std::string> fresh;
  for (const auto& [tenant, subject] : names) {
    fresh.push_back(wrap_subject_key(*keys_, tenant, subject, crypto::AesGcmKey::generate()));
  }
  std::vector<Bytes> wrapped;
  for (const std::string& key : fresh) wrapped.push_back(as_bytes(key));
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await database.transact<pg::Rows>(
                        deadline, store::Intent::write, {.name = "audit subject keys"},
                        [&](pg::Transaction& transaction) -> Task<Result<pg::Rows>> {
                          const pg::Params made(tenants, subjects, wrapped, as_bytes(keys_->newest_id));
                          CITADEL_CO_TRY(co_await transaction.execute(insert_keys, made, deadline));
                          co_return co_await transaction.execute(select_keys, pg::Params(tenants, subjects),
                                                                 deadline);
                        }));
  for (const pg::Row row : rows) {
    Name name(row.get<std::string>(1), row.get<std::string>(2));
    CITADEL_CO_ASSIGN(auto key, unwrap_subject_key(*keys_, name.first, name.second, row.get<Bytes>(3)));
    known_[std::move(name)] = {row.get<std::int64_t>(0),
                               std::make_shared<const crypto::AesGcmKey>(std::move(key))};
  }
  co_return Result<void>();
}

std::optional<SubjectKey> SubjectKeys::find(const Name& name) const {
  const auto at = known_.find(name);
  if (at == known_.end()) return std::nullopt;
  return at->second;
}

Task<Result<bool>> SubjectKeys::all_alive(pg::Transaction& transaction, std::vector<std::int64_t> ids,
                                          Deadline deadline) {
  std::ranges::sort(ids);
  const auto repeats = std::ranges::unique(ids);
  ids.erase(repeats.begin(), repeats.end());
  if (ids.empty()) co_return true;
  CITADEL_CO_ASSIGN(const pg::Rows rows,
                    co_await transaction.execute(select_alive, pg::Params(ids), deadline));
  if (static_cast<std::size_t>(rows.size()) == ids.size()) co_return true;
  std::set<std::int64_t> alive;
  for (const pg::Row row : rows) alive.insert(row.get<std::int64_t>(0));
  std::erase_if(known_, [&](const auto& item) {
    return std::ranges::binary_search(ids, item.second.id) && !alive.contains(item.second.id);
  });
  co_return false;
}

}  // namespace citadel::audit
