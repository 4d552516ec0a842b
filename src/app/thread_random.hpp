// Randomness for ids, one source a thread, so that it needs no lock.
#pragma once
#include "base/random.hpp"

namespace citadel::app {

inline Random& thread_random() {
  static thread_local SeededRandom random(random_seed());
  return random;
}

}  // namespace citadel::app
