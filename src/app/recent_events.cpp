#include "app/recent_events.hpp"

#include "audit/record_codec.hpp"

namespace citadel::app {

crypto::Digest content_digest(const audit::Event& event) {
  std::string bytes = audit::encode_envelope(event, event.time);
  for (const auto& group : event.groups) {
    append_be<std::uint32_t>(bytes, static_cast<std::uint32_t>(group.size()));
    bytes += group;
  }
  return crypto::sha256(as_bytes(bytes));
}

RecentEvents::Answer RecentEvents::add(const Uuid& id, const crypto::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = entries_.try_emplace(id, Entry{digest, {}});
  if (!is_new) {
    if (at->second.digest != digest) return {Seen::other};
    return {Seen::same, at->second.position};
  }
  order_.push_back(id);
  if (order_.size() > count_max_) {
    entries_.erase(order_.front());
    order_.pop_front();
  }
  return {Seen::never};
}

void RecentEvents::set_durable(const Uuid& id, journal::Position position) {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(id);
  if (at != entries_.end() && !at->second.position) at->second.position = position;
}

void RecentEvents::forget(const Uuid& id) {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(id);
  // Its place in `order_` stays and is passed over when its turn has come.
  if (at != entries_.end() && !at->second.position) entries_.erase(at);
}

}  // namespace citadel::app
