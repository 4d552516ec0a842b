#include "aio/runtime.hpp"

#include <pthread.h>
#include <signal.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "aio/wait.hpp"
#include "base/check.hpp"

namespace citadel::aio {

struct Runtime::Loop {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::thread thread;
};

Runtime::Runtime(std::size_t thread_count) {
  CITADEL_CHECK(thread_count >= 1 && thread_count <= 64, "thread_count is outside 1..64");
  // Threads inherit the mask, so signals reach only the thread that waits for them. Not those that a fault of
  // the thread itself raises: blocked, they would kill without a word from a sanitizer or a crash handler.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (std::size_t i = 0; i < thread_count; ++i) {
    auto loop = std::make_unique<Loop>();
    loop->thread = std::thread([context = &loop->context] { context->run(); });
    pthread_setname_np(loop->thread.native_handle(), ("citadel-io-" + std::to_string(i)).c_str());
    loops_.push_back(std::move(loop));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Runtime::~Runtime() {
  for (auto& loop : loops_) {
    loop->work.reset();
    loop->context.stop();
  }
  for (auto& loop : loops_) loop->thread.join();
}

std::size_t Runtime::size() const {
  return loops_.size();
}

Executor Runtime::executor(std::size_t index) const {
  CITADEL_CHECK(index < loops_.size(), "no such I/O thread");
  return loops_[index]->context.get_executor();
}

Task<> sleep_until(MonotonicTime when) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_at(when);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace citadel::aio
