// PreparedCache: which statements a session has prepared, least recently used last. Pure bookkeeping: the
// owner sends PREPARE and DEALLOCATE. A statement is its text together with the types of its parameters.
#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pg/value.hpp"

namespace citadel::pg {

class PreparedCache {
 public:
  explicit PreparedCache(std::size_t size_max) : size_max_(size_max) {}
  PreparedCache(const PreparedCache&) = delete;

  // The name on the server, now the most recently used; nullptr where it is not prepared.
  const std::string* find(std::string_view sql, std::span<const Oid> types);
  // A name that no statement of this session has had.
  std::string new_name();
  // After PREPARE has succeeded.
  const std::string& insert(std::string name, std::string_view sql, std::span<const Oid> types);
  void erase(std::string_view sql, std::span<const Oid> types);
  void clear();

  // Beyond the maximum: the name of the least recently used, which leaves; nullopt where there is room.
  std::optional<std::string> evict_surplus();

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string name;
    std::string sql;
    std::vector<Oid> types;
  };
  struct Key {  // points into an Entry, or at what the caller looks for
    std::string_view sql;
    std::span<const Oid> types;
    bool operator==(const Key& other) const;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };

  std::size_t size_max_;
  std::uint64_t names_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, Hash> index_;
};

}  // namespace citadel::pg
