// FaultProxy: a TCP proxy on loopback that fails on command, to show what a client does when the network does
// not behave. One target; every connection to port() is forwarded to it. A thread of its own; all calls are
// thread-safe and take effect on live and later connections alike, before the call returns for bytes not read
// yet.
//
//   FaultProxy proxy("127.0.0.1", postgres_port);
//   proxy.drop_server_bytes_containing("COMMIT");        // the COMMIT is done, its CommandComplete never
//   arrives
//   ... connect the client to proxy.port(), commit ...
//   EXPECT_EQ(proxy.counts().drops, 1u);                 // the fault has fired
//
// Faults that end a connection (reset_after, close_after, drop_…) fire `times` connections' worth and are
// then disarmed; byte counts start when the fault is armed, for each connection by itself. pass() disarms all
// and lets flow what was held back.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/deadline.hpp"

namespace citadel::support {

enum class Direction : std::uint8_t { to_server, to_client };

class FaultProxy {
 public:
  // Each is a number of events since the start.
  struct Counts {
    std::uint64_t accepted = 0;         // connections
    std::uint64_t unreachable = 0;      // connections whose target did not answer; closed
    std::uint64_t refusals = 0;         // times that refuse() closed the listener
    std::uint64_t delays = 0;           // reads whose bytes were held back by delay()
    std::uint64_t slices = 0;           // writes cut short by slice()
    std::uint64_t holds = 0;            // connections' directions in which a black hole held bytes back
    std::uint64_t resets = 0;           // connections ended by RST on command
    std::uint64_t closes = 0;           // connections ended by FIN on command
    std::uint64_t drops = 0;            // matches of drop_…_bytes_containing
    std::uint64_t bytes_to_server = 0;  // forwarded
    std::uint64_t bytes_to_client = 0;
    std::uint64_t live = 0;  // connections open now
  };

  // Listens on 127.0.0.1 at a reserved port. Aborts where it cannot.
  FaultProxy(std::string target_host, std::uint16_t target_port);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  std::uint16_t port() const;
  Counts counts() const;
  // Waits until `condition` holds for the counts; false at the deadline.
  bool wait_for(const std::function<bool(const Counts&)>& condition, Deadline deadline) const;

  void pass();
  // Every byte in this direction arrives that much later; zero: at once.
  void delay(Direction direction, std::chrono::milliseconds by);
  // No write to either side is longer than this; 0: no limit.
  void slice(std::size_t size_bytes_max);
  // Nothing flows, nothing is closed; new connections are accepted and stay silent.
  void black_hole();
  void black_hole(Direction direction);
  // Forwards `bytes` more in this direction, then ends the connection with RST (reset) or FIN (close) on both
  // sides.
  void reset_after(Direction direction, std::uint64_t bytes, unsigned times = 1);
  void close_after(Direction direction, std::uint64_t bytes, unsigned times = 1);
  // From the first byte of `needle` on, nothing more comes from the server, and the connection is reset.
  void drop_server_bytes_containing(std::string needle, unsigned times = 1);
  // The same for what the client sends: the server never sees it.
  void drop_client_bytes_containing(std::string needle, unsigned times = 1);
  // Ends all live connections with RST, now.
  void reset_all();
  // New connections get ECONNREFUSED (true), or are accepted again (false).
  void refuse(bool on);

 private:
  struct Loop;
  void drop_bytes_containing(Direction direction, std::string needle, unsigned times);
  std::unique_ptr<Loop> loop_;
};

}  // namespace citadel::support
