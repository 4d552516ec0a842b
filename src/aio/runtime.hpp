// Runtime: the I/O threads. Each thread runs one io_context of its own, so what lives on one executor needs
// no lock. Executor 0 is the data plane (pool, store, drain); all of them carry HTTP sessions.
#pragma once
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "aio/task.hpp"

namespace citadel::aio {

class Runtime {
 public:
  // Starts `thread_count` threads (1 to 64), named "citadel-io-N". Signals are blocked in them,
  // save those that a fault of their own raises.
  explicit Runtime(std::size_t thread_count);
  // Stops the contexts without waiting for their coroutines, and joins the threads. Close every Gate first.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  std::size_t size() const;
  Executor executor(std::size_t index) const;

 private:
  struct Loop;
  std::vector<std::unique_ptr<Loop>> loops_;
};

}  // namespace citadel::aio
