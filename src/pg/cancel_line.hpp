// CancelLine: one connection past Pgpool-II on which statements of other sessions are cancelled. A cancel
// that goes through Pgpool-II needs a free child there; this one does not.
//
//   CancelLine::Turn turn(line);
//   Connection* direct = co_await turn.take(options, deadline);   // null where it cannot be had by then
//   ... use it while the turn lives
//
// Opened when first needed; one user at a time, first come first served; a connection that comes back in any
// state but idle is closed. Single executor; every Turn ends before its line.
#pragma once
#include <deque>
#include <memory>

#include "aio/wait.hpp"
#include "pg/connection.hpp"

namespace citadel::pg {

class CancelLine {
 public:
  explicit CancelLine(Executor executor) : executor_(std::move(executor)) {}
  CancelLine(const CancelLine&) = delete;
  CancelLine& operator=(const CancelLine&) = delete;

  class Turn {
   public:
    explicit Turn(CancelLine& line) : line_(line), granted_(line.executor_) {}
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    Task<Connection*> take(const ConnectOptions& options, Deadline deadline);

   private:
    CancelLine& line_;
    aio::OneShot<bool> granted_;
    bool waits_ = false, has_ = false;
  };

  // Closes the connection. Nobody has a turn.
  void hang_up() { connection_.reset(); }

 private:
  Executor executor_;
  std::unique_ptr<Connection> connection_;
  bool taken_ = false;
  std::deque<Turn*> waiting_;
};

}  // namespace citadel::pg
