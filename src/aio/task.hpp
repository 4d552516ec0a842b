// Task: what a coroutine returns. Expected failures travel in its Result; an exception is a bug or a
// cancellation (boost::system::system_error with operation_aborted), and both end at the Gate that spawned
// the coroutine.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "base/error.hpp"

namespace citadel {

namespace asio = boost::asio;

template <class T = void>
using Task = asio::awaitable<T>;

using Executor = asio::any_io_executor;

}  // namespace citadel
