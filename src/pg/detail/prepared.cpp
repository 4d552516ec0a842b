#include "pg/detail/prepared.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace citadel::pg {

bool PreparedCache::Key::operator==(const Key& other) const {
  return sql == other.sql && std::ranges::equal(types, other.types);
}

std::size_t PreparedCache::Hash::operator()(const Key& key) const noexcept {
  std::size_t hash = std::hash<std::string_view>()(key.sql);
  for (const Oid type : key.types) hash = (hash ^ type) * 0x100000001B3u;
  return hash;
}

const std::string* PreparedCache::find(std::string_view sql, std::span<const Oid> types) {
  const auto found = index_.find(Key{sql, types});
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &found->second->name;
}

std::string PreparedCache::new_name() {
  return fmt::format("c{}", ++names_);
}

const std::string& PreparedCache::insert(std::string name, std::string_view sql, std::span<const Oid> types) {
  erase(sql, types);
  entries_.push_front({std::move(name), std::string(sql), {types.begin(), types.end()}});
  index_.emplace(Key{entries_.front().sql, entries_.front().types}, entries_.begin());
  return entries_.front().name;
}

void PreparedCache::erase(std::string_view sql, std::span<const Oid> types) {
  const auto found = index_.find(Key{sql, types});
  if (found == index_.end()) return;
  const auto entry = found->second;
  index_.erase(found);
  entries_.erase(entry);
}

void PreparedCache::clear() {
  index_.clear();
  entries_.clear();
}

std::optional<std::string> PreparedCache::evict_surplus() {
  if (entries_.size() <= size_max_) return std::nullopt;
  std::string name = std::move(entries_.back().name);
  index_.erase(Key{entries_.back().sql, entries_.back().types});
  entries_.pop_back();
  return name;
}

}  // namespace citadel::pg
