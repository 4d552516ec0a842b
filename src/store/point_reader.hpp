// PointReader: coalescing. Reads of single rows by key that are asked for at the same time become one query
// with `= any($1)`, because through Pgpool-II a message costs and a row does not (docs/performance.md).
//
//   PointReader<std::int64_t, Account> accounts(database, gate, by_id, options,
//       [](pg::Row row) { return std::pair(row.get<std::int64_t>(0), Account{...}); });
//   auto account = co_await accounts.read(17, deadline);  // Result<optional<Account>>; nullopt: no such row
//
// A read goes out at once while fewer than `in_flight_max` queries run; otherwise it joins the next one,
// first come first served. Each caller has its own deadline, row and error; keys asked for twice are sent
// once. A statement that fails fails all the callers that it carried. Not thread-safe; all calls on the
// database's executor.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aio/gate.hpp"
#include "aio/wait.hpp"
#include "store/database.hpp"

namespace citadel::store {

struct PointReaderOptions {
  std::size_t batch_max = 100;     // keys in one query
  std::size_t in_flight_max = 2;   // queries at once
  std::size_t queue_max = 10'000;  // callers waiting; beyond it: overloaded
};

struct PointReaderStatus {
  std::uint64_t reads_total = 0, queries_total = 0, refused_total = 0;
  std::size_t waiting = 0, in_flight = 0;
};

template <class Key, class Value>
class PointReader {
 public:
  using Decode = std::function<std::pair<Key, Value>(pg::Row)>;

  // `statement` selects by `= any($1)` and has the key in what `decode` reads. `database` and `gate` outlive
  // this; the gate is closed before it goes.
  PointReader(Database& database, aio::Gate& gate, const pg::Statement& statement, PointReaderOptions options,
              Decode decode)
      : database_(database),
        gate_(gate),
        statement_(statement),
        options_(options),
        decode_(std::move(decode)) {}

  Task<Result<std::optional<Value>>> read(Key key, Deadline deadline) {
    if (queue_.size() >= options_.queue_max) {
      ++status_.refused_total;
      co_return fail(Code::overloaded, "too many reads wait for the database");
    }
    ++status_.reads_total;
    auto waiter = std::make_shared<Waiter>(database_.executor(), std::move(key), deadline);
    queue_.push_back(waiter);
    dispatch();
    auto answer = co_await waiter->answer.wait(deadline);
    if (!answer) {
      // Where it still waits, it must not stand in the way of others.
      std::erase(queue_, waiter);
      co_return std::unexpected(
          Error(Code::deadline_exceeded, "the database did not answer by the deadline").in(statement_.name));
    }
    co_return std::move(*answer);
  }

  PointReaderStatus status() const {
    auto status = status_;
    status.waiting = queue_.size();
    status.in_flight = in_flight_;
    return status;
  }

 private:
  using Answer = Result<std::optional<Value>>;
  struct Waiter {
    Waiter(const Executor& executor, Key k, Deadline d) : answer(executor), key(std::move(k)), deadline(d) {}
    aio::OneShot<Answer> answer;
    Key key;
    Deadline deadline;
  };
  using Waiters = std::vector<std::shared_ptr<Waiter>>;

  void dispatch() {
    while (in_flight_ < options_.in_flight_max && !queue_.empty()) {
      Waiters batch;
      while (!queue_.empty() && batch.size() < options_.batch_max) {
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      ++in_flight_;
      gate_.spawn(statement_.name, run(std::move(batch)));
    }
  }

  // Whatever ends it, everybody is answered and the place is free again.
  Task<> run(Waiters batch) {
    Result<void> done;
    bool closing = false;  // the gate's: nobody is served any more
    try {
      done = co_await ask(batch);
    } catch (const boost::system::system_error& error) {
      closing = error.code() == asio::error::operation_aborted;
      done = fail(closing ? Code::cancelled : Code::internal, error.what());
    } catch (const std::exception& error) {
      done = fail(Code::internal, error.what());
    }
    if (!done) {
      for (const auto& waiter : batch) waiter->answer.set(Answer(std::unexpected(done.error())));
    }
    --in_flight_;
    if (!closing) dispatch();
  }

  Task<Result<void>> ask(const Waiters& batch) {
    std::unordered_map<Key, std::optional<Value>> found;
    std::vector<Key> keys;
    Deadline deadline = batch.front()->deadline;
    for (const auto& waiter : batch) {
      if (found.try_emplace(waiter->key).second) keys.push_back(waiter->key);
      deadline = std::max(deadline, waiter->deadline);
    }
    pg::Params params;
    params.add(keys);
    ++status_.queries_total;
    auto rows = co_await database_.query(deadline, Intent::read, statement_, std::move(params));
    if (rows) {
      try {
        for (const pg::Row row : *rows) {
          auto [key, value] = decode_(row);
          found[key] = std::move(value);
        }
      } catch (const pg::TypeMismatch& mismatch) {
        rows = schema_mismatch(mismatch);
      }
    }
    if (!rows) co_return std::unexpected(rows.error());
    for (const auto& waiter : batch) waiter->answer.set(Answer(found[waiter->key]));
    co_return Result<void>();
  }

  Database& database_;
  aio::Gate& gate_;
  const pg::Statement& statement_;
  PointReaderOptions options_;
  Decode decode_;
  std::deque<std::shared_ptr<Waiter>> queue_;
  std::size_t in_flight_ = 0;
  PointReaderStatus status_;
};

}  // namespace citadel::store
