#include "base/clock.hpp"

namespace citadel {
namespace {

class SystemClock final : public Clock {
 public:
  MonotonicTime monotonic() const override { return Monotonic::now(); }
  WallTime wall() const override {
    return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace citadel
