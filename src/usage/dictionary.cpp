#include "usage/dictionary.hpp"

#include <algorithm>

namespace citadel::usage {

std::optional<std::int32_t> Dictionary::find(std::string_view name) const {
  const auto found = ids_.find(name);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

Task<Result<void>> Dictionary::resolve(store::Database& database, std::vector<std::string> names,
                                       Deadline deadline) {
  // Forgetting all is safe: names are asked for again. It only happens before a batch looks any of them up.
  if (ids_.size() > remembered_max) ids_.clear();
  std::erase_if(names, [&](const std::string& name) { return ids_.contains(name); });
  if (names.empty()) co_return Result<void>();
  // In order, so that two daemons that make the same names wait for each other instead of dying of a
  // deadlock.
  std::ranges::sort(names);
  CITADEL_CO_ASSIGN(
      const pg::Rows rows,
      co_await database.transact<pg::Rows>(
          deadline, store::Intent::write, {.name = "usage dictionary"},
          [&](pg::Transaction& transaction) -> Task<Result<pg::Rows>> {
            CITADEL_CO_TRY(co_await transaction.execute(insert_missing_, pg::Params(names), deadline));
            co_return co_await transaction.execute(select_, pg::Params(names), deadline);
          }));
  for (const pg::Row row : rows) ids_.emplace(row.get<std::string>(1), row.get<std::int32_t>(0));
  co_return Result<void>();
}

}  // namespace citadel::usage
