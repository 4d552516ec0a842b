// Dictionary: names to the small numbers that stand for them in usage.request and the rollups. Remembers only
// what is committed, so it stays true when a batch is rolled back. On the database's executor.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "aio/task.hpp"
#include "base/deadline.hpp"
#include "store/database.hpp"

namespace citadel::usage {

class Dictionary {
 public:
  // The statements insert the names of $1 (text[]) that are missing, and select id and name of all of $1.
  Dictionary(pg::Statement insert_missing, pg::Statement select)
      : insert_missing_(insert_missing), select_(select) {}

  // nullopt: not remembered; resolve() it first.
  std::optional<std::int32_t> find(std::string_view name) const;
  // Makes and remembers those of `names` that are not remembered yet, in a transaction of its own.
  Task<Result<void>> resolve(store::Database& database, std::vector<std::string> names, Deadline deadline);
  void clear() { ids_.clear(); }

 private:
  static constexpr std::size_t remembered_max = 100'000;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  pg::Statement insert_missing_, select_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
};

}  // namespace citadel::usage
