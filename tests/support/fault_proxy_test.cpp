#include "support/fault_proxy.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <list>
#include <mutex>
#include <thread>

#include "base/file.hpp"
#include "support/ports.hpp"

namespace citadel::support {
namespace {

using namespace std::chrono_literals;

const auto patience = 20s;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Sends back what it gets, on a thread a connection.
class EchoServer {
 public:
  EchoServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto address = loopback(port_);
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::listen(listener_.get(), 64);
    acceptor_ = std::thread([this] { accept(); });
  }
  ~EchoServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (auto& session : sessions_) session.join();
  }
  std::uint16_t port() const { return port_; }

 private:
  void accept() {
    for (;;) {
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      sessions_.emplace_back([fd = std::move(fd)] {
        char buffer[65536];
        for (;;) {
          const auto got = ::recv(fd.get(), buffer, sizeof buffer, 0);
          if (got <= 0 || ::send(fd.get(), buffer, static_cast<std::size_t>(got), MSG_NOSIGNAL) < 0) return;
        }
      });
    }
  }

  const std::uint16_t port_ = reserve_port();
  UniqueFd listener_;
  std::thread acceptor_;
  std::list<std::thread> sessions_;
};

class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto address = loopback(port);
    error_ =
        ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  }
  int connect_error() const { return error_; }
  void send(std::string_view text) { ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  void close_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  // Up to `size` bytes, fewer at the end, an error or after `within`; ended() tells which.
  std::string receive(std::size_t size, std::chrono::milliseconds within = patience) {
    const timeval limit{.tv_sec = within.count() / 1000, .tv_usec = within.count() % 1000 * 1000};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::string out;
    std::string buffer(65536, '\0');
    while (out.size() < size) {
      const auto got = ::recv(fd_.get(), buffer.data(), std::min(buffer.size(), size - out.size()), 0);
      end_ = got > 0 ? "" : got == 0 ? "end" : errno == ECONNRESET ? "reset" : "timeout";
      if (got <= 0) break;
      out.append(buffer, 0, static_cast<std::size_t>(got));
      largest_ = std::max(largest_, static_cast<std::size_t>(got));
    }
    return out;
  }
  std::string ended() const { return end_; }
  std::size_t largest() const { return largest_; }

 private:
  UniqueFd fd_;
  int error_ = 0;
  std::string end_;
  std::size_t largest_ = 0;
};

class FaultProxyTest : public testing::Test {
 protected:
  bool wait(const std::function<bool(const FaultProxy::Counts&)>& condition) {
    return proxy_.wait_for(condition, Deadline::after(patience));
  }
  EchoServer server_;
  FaultProxy proxy_{"127.0.0.1", server_.port()};
};

TEST_F(FaultProxyTest, PassesBothDirectionsAndCounts) {
  Client client(proxy_.port());
  client.send("hello");
  EXPECT_EQ(client.receive(5), "hello");
  EXPECT_EQ(proxy_.counts().accepted, 1u);
  EXPECT_EQ(proxy_.counts().bytes_to_server, 5u);
  EXPECT_EQ(proxy_.counts().bytes_to_client, 5u);
  EXPECT_EQ(proxy_.counts().live, 1u);
}

TEST_F(FaultProxyTest, LargeTransferArrivesWhole) {
  Client client(proxy_.port());
  std::string sent(20'000'000, '\0');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 >> 3);
  std::thread sender([&] {
    client.send(sent);
    client.close_sending();
  });
  const auto received = client.receive(sent.size() + 1);
  sender.join();
  EXPECT_TRUE(received == sent) << received.size();
  EXPECT_EQ(client.ended(), "end");
  EXPECT_TRUE(wait([](const auto& counts) { return counts.live == 0; }));
}

TEST_F(FaultProxyTest, DelayHoldsBytesBack) {
  Client client(proxy_.port());
  proxy_.delay(Direction::to_client, 200ms);
  const auto began = Monotonic::now();
  client.send("x");
  EXPECT_EQ(client.receive(1), "x");
  EXPECT_GE(Monotonic::now() - began, 200ms);
  EXPECT_EQ(proxy_.counts().delays, 1u);
}

TEST_F(FaultProxyTest, SliceCutsWrites) {
  Client client(proxy_.port());
  proxy_.slice(3);
  client.send("0123456789");
  EXPECT_EQ(client.receive(10), "0123456789");
  EXPECT_GE(proxy_.counts().slices, 3u);
}

TEST_F(FaultProxyTest, BlackHoleKeepsOpenAndHeals) {
  Client client(proxy_.port());
  client.send("a");
  ASSERT_EQ(client.receive(1), "a");
  proxy_.black_hole();
  client.send("b");
  EXPECT_EQ(client.receive(1, 100ms), "");
  EXPECT_EQ(client.ended(), "timeout");
  EXPECT_TRUE(wait([](const auto& counts) { return counts.holds == 1; }));
  Client late(proxy_.port());
  EXPECT_EQ(late.connect_error(), 0);
  proxy_.pass();
  EXPECT_EQ(client.receive(1), "b");
}

TEST_F(FaultProxyTest, OneWayBlackHoleLetsTheOtherFlow) {
  Client client(proxy_.port());
  proxy_.black_hole(Direction::to_client);
  client.send("gone");
  EXPECT_TRUE(wait([](const auto& counts) { return counts.bytes_to_server == 4 && counts.holds == 1; }));
  EXPECT_EQ(client.receive(1, 50ms), "");
  EXPECT_EQ(proxy_.counts().bytes_to_client, 0u);
}

TEST_F(FaultProxyTest, ResetComesAfterExactlySoManyBytes) {
  for (const std::size_t bytes : {0u, 1u, 4u, 10u}) {
    Client client(proxy_.port());
    client.send("before");
    ASSERT_EQ(client.receive(6), "before");
    proxy_.reset_after(Direction::to_client, bytes);
    const auto resets = proxy_.counts().resets;
    const auto flowed = proxy_.counts().bytes_to_client;
    client.send("0123456789");
    EXPECT_TRUE(wait([&](const auto& counts) { return counts.resets == resets + 1; })) << bytes;
    EXPECT_EQ(proxy_.counts().bytes_to_client - flowed, bytes);
    client.receive(100);
    EXPECT_EQ(client.ended(), "reset") << bytes;
  }
}

TEST_F(FaultProxyTest, ResetTowardsTheServerCutsTheRequest) {
  Client client(proxy_.port());
  proxy_.reset_after(Direction::to_server, 4);
  client.send("0123456789");
  EXPECT_TRUE(wait([](const auto& counts) { return counts.resets == 1; }));
  EXPECT_EQ(proxy_.counts().bytes_to_server, 4u);
  client.receive(100);
  EXPECT_EQ(client.ended(), "reset");
}

TEST_F(FaultProxyTest, EndingFiresSoOftenAndNoMore) {
  proxy_.reset_after(Direction::to_client, 1, 2);
  for (int n = 0; n < 3; ++n) {
    Client client(proxy_.port());
    client.send("ab");
    const auto got = client.receive(2);
    if (n == 2) EXPECT_EQ(got, "ab");
    if (n < 2) EXPECT_EQ(client.ended(), "reset");
  }
  EXPECT_EQ(proxy_.counts().resets, 2u);
}

TEST_F(FaultProxyTest, CloseIsAnOrderlyEnd) {
  Client client(proxy_.port());
  proxy_.close_after(Direction::to_client, 4);
  client.send("0123456789");
  EXPECT_EQ(client.receive(100), "0123");
  EXPECT_EQ(client.ended(), "end");
  EXPECT_EQ(proxy_.counts().closes, 1u);
  EXPECT_EQ(proxy_.counts().resets, 0u);
}

TEST_F(FaultProxyTest, NeedleAndAllAfterItNeverArrive) {
  Client client(proxy_.port());
  proxy_.drop_server_bytes_containing("COMMIT");
  client.send("BEGIN ok; ");
  EXPECT_EQ(client.receive(10), "BEGIN ok; ");
  client.send("COMMIT done");
  EXPECT_EQ(client.receive(100), "");
  EXPECT_EQ(client.ended(), "reset");
  EXPECT_EQ(proxy_.counts().drops, 1u);
  EXPECT_EQ(proxy_.counts().bytes_to_server, 21u);  // the server did get it
  Client after(proxy_.port());
  after.send("COMMIT");
  EXPECT_EQ(after.receive(6), "COMMIT");
}

TEST_F(FaultProxyTest, NeedleOfTheClientNeverReachesTheServer) {
  Client client(proxy_.port());
  proxy_.drop_client_bytes_containing("COMMIT");
  client.send("BEGIN ok; ");
  EXPECT_EQ(client.receive(10), "BEGIN ok; ");
  client.send("COMMIT");
  EXPECT_EQ(client.receive(100), "");
  EXPECT_EQ(client.ended(), "reset");
  EXPECT_EQ(proxy_.counts().drops, 1u);
  EXPECT_EQ(proxy_.counts().bytes_to_server, 10u);
}

TEST_F(FaultProxyTest, NeedleSplitOverReadsIsFound) {
  Client client(proxy_.port());
  proxy_.drop_server_bytes_containing("COMMIT");
  client.send("xCOM");
  EXPECT_EQ(client.receive(1), "x");
  EXPECT_EQ(client.receive(1, 50ms), "");
  client.send("MIT");
  client.receive(100);
  EXPECT_EQ(client.ended(), "reset");
  EXPECT_EQ(proxy_.counts().drops, 1u);
}

TEST_F(FaultProxyTest, StartOfANeedleThatDoesNotFollowIsPassedOn) {
  Client client(proxy_.port());
  proxy_.drop_server_bytes_containing("COMMIT");
  client.send("COM");
  EXPECT_EQ(client.receive(1, 50ms), "");
  client.send("MA!");
  EXPECT_EQ(client.receive(6), "COMMA!");
  client.send("COM");
  EXPECT_EQ(client.receive(1, 50ms), "");
  proxy_.pass();
  EXPECT_EQ(client.receive(3), "COM");
}

TEST_F(FaultProxyTest, ResetAllEndsWhatLives) {
  Client one(proxy_.port()), two(proxy_.port());
  one.send("1");
  two.send("2");
  ASSERT_EQ(one.receive(1), "1");
  ASSERT_EQ(two.receive(1), "2");
  proxy_.reset_all();
  one.receive(1);
  two.receive(1);
  EXPECT_EQ(one.ended(), "reset");
  EXPECT_EQ(two.ended(), "reset");
  EXPECT_EQ(proxy_.counts().resets, 2u);
  Client three(proxy_.port());
  three.send("3");
  EXPECT_EQ(three.receive(1), "3");
}

TEST_F(FaultProxyTest, RefusesAndAcceptsAgain) {
  proxy_.refuse(true);
  EXPECT_EQ(Client(proxy_.port()).connect_error(), ECONNREFUSED);
  EXPECT_EQ(proxy_.counts().refusals, 1u);
  proxy_.refuse(false);
  Client client(proxy_.port());
  client.send("back");
  EXPECT_EQ(client.receive(4), "back");
}

TEST(FaultProxyAlone, UnreachableTargetClosesTheClient) {
  FaultProxy proxy("127.0.0.1", reserve_port());
  Client client(proxy.port());
  client.receive(1);
  EXPECT_NE(client.ended(), "timeout");
  EXPECT_EQ(proxy.counts().unreachable, 1u);
}

}  // namespace
}  // namespace citadel::support
