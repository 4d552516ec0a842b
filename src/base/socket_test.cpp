#include "base/socket.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>

#include "base/file.hpp"

namespace citadel {
namespace {

using namespace std::chrono_literals;

Deadline soon() {
  return Deadline::after(20s);
}

// Two ends of a TCP connection.
class SocketTest : public testing::Test {
 protected:
  void SetUp() override {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), any, size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), any, &size), 0);
    ours_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(ours_.get(), any, size), 0);
    theirs_ = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(theirs_);
  }
  // More than the buffers of both sides take where the other side does not read.
  void send_until_full() {
    const std::string bytes(1 << 20, 'x');
    while (::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
    }
  }

  UniqueFd ours_, theirs_;
};

TEST_F(SocketTest, IsReadyWhenSomethingComesOrTheTimeIsOver) {
  const auto late = wait_ready(ours_.get(), POLLIN, Deadline::after(5ms), "reading");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::deadline_exceeded);
  EXPECT_EQ(late.error().message, "reading: not by the deadline");
  ASSERT_EQ(::send(theirs_.get(), "x", 1, 0), 1);
  EXPECT_TRUE(wait_ready(ours_.get(), POLLIN, soon(), "reading"));
  EXPECT_EQ(poll_milliseconds(Deadline::after(-1s)), 0);
  EXPECT_EQ(poll_milliseconds(Deadline::after(24h)), 3'600'000);
}

TEST_F(SocketTest, WhatTheOtherSideHasIsDelivered) {
  ASSERT_EQ(::send(ours_.get(), "abc", 3, 0), 3);
  ASSERT_EQ(::shutdown(ours_.get(), SHUT_WR), 0);
  EXPECT_TRUE(wait_delivered(ours_.get(), soon(), "sending"));
}

TEST_F(SocketTest, WhatWaitsForARoomIsNotDelivered) {
  send_until_full();
  EXPECT_EQ(wait_delivered(ours_.get(), Deadline::after(20ms), "sending").error().code,
            Code::deadline_exceeded);
}

// The other side closed, and what comes afterwards is answered with a reset, which nobody reads.
TEST_F(SocketTest, WhatComesAfterTheOtherSideHasClosedIsLost) {
  theirs_.reset();
  char byte = 0;
  ASSERT_EQ(::recv(ours_.get(), &byte, 1, 0), 0);
  ASSERT_EQ(::send(ours_.get(), "abc", 3, MSG_NOSIGNAL), 3);
  ::shutdown(ours_.get(), SHUT_WR);
  EXPECT_EQ(wait_delivered(ours_.get(), soon(), "sending").error().code, Code::connection_lost);
}

}  // namespace
}  // namespace citadel
