#include "pg/cancel_line.hpp"

#include "base/log.hpp"

namespace citadel::pg {

CancelLine::Turn::~Turn() {
  if (waits_) std::erase(line_.waiting_, this);
  if (!has_) return;
  if (line_.connection_ && line_.connection_->state() != SessionState::idle) line_.connection_.reset();
  line_.taken_ = false;
  if (line_.waiting_.empty()) return;
  Turn* next = line_.waiting_.front();
  line_.waiting_.pop_front();
  line_.taken_ = next->has_ = true;
  next->waits_ = false;
  next->granted_.set(true);
}

Task<Connection*> CancelLine::Turn::take(const ConnectOptions& options, Deadline deadline) {
  if (line_.taken_) {
    waits_ = true;
    line_.waiting_.push_back(this);
    if (!co_await granted_.wait(deadline)) co_return nullptr;
  } else {
    line_.taken_ = has_ = true;
  }
  if (!line_.connection_) {
    auto opened = co_await Connection::connect(line_.executor_, options, deadline);
    if (!opened) {
      log::warning("pool", "the direct connection for cancels cannot be opened", {{"error", opened.error()}});
      co_return nullptr;
    }
    line_.connection_ = std::move(*opened);
  }
  co_return line_.connection_.get();
}

}  // namespace citadel::pg
