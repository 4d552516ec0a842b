// SyslogSender against a receiver of our own, at whose end of the connection each byte and each end is
// chosen.
#include "cli/syslog_sender.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <thread>

namespace citadel::cli {
namespace {

using namespace std::chrono_literals;

Deadline soon() {
  return Deadline::after(20s);
}

class SyslogSenderTest : public testing::Test {
 protected:
  void SetUp() override {
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener_.get(), any, size), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener_.get(), any, &size), 0);
    sender_.emplace(parse_syslog_target(fmt::format("tcp://127.0.0.1:{}", ntohs(address.sin_port))).value(),
                    "");
    ASSERT_TRUE(sender_->connect(soon()));
    receiver_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(receiver_);
  }
  // The receiver's: up to `count` bytes, or the end.
  std::string read(std::size_t count) {
    std::string out(count, '\0');
    const auto got = ::recv(receiver_.get(), out.data(), count, MSG_WAITALL);
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
  }
  Code finish() {
    const auto finished = sender_->finish(soon());
    return finished ? Code::internal : finished.error().code;
  }

  UniqueFd listener_, receiver_;
  std::optional<SyslogSender> sender_;
};

TEST_F(SyslogSenderTest, AReceiverThatReadsAllAndClosesHasItAll) {
  std::string got;
  std::thread reading([&] {
    got = read(100);
    receiver_.reset();
  });
  ASSERT_TRUE(sender_->send("12345", soon()));
  const auto finished = sender_->finish(soon());
  reading.join();
  EXPECT_TRUE(finished) << finished.error().to_string();
  EXPECT_EQ(got, "12345");
}

TEST_F(SyslogSenderTest, AnEndThatWasThereBeforeOursIsNoAnswerToIt) {
  ASSERT_TRUE(sender_->send("12345", soon()));
  ASSERT_EQ(read(5), "12345");
  // Half of it, so that nothing but the early end tells.
  ASSERT_EQ(::shutdown(receiver_.get(), SHUT_WR), 0);
  EXPECT_EQ(finish(), Code::connection_lost);
}

TEST_F(SyslogSenderTest, AReceiverThatClosesBeforeItHasReadIsSeen) {
  ASSERT_TRUE(sender_->send("12345", soon()));
  receiver_.reset();
  EXPECT_EQ(finish(), Code::connection_lost);
}

// Before or after our end is said.
TEST_F(SyslogSenderTest, AReceiverThatClosesOverTheLastBytesIsSeen) {
  ASSERT_TRUE(sender_->send("12345", soon()));
  std::thread closing([&] {
    EXPECT_EQ(read(3), "123");
    receiver_.reset();
  });
  const auto code = finish();
  closing.join();
  EXPECT_EQ(code, Code::connection_lost);
}

TEST_F(SyslogSenderTest, AReceiverThatNeverClosesIsWaitedForByTheDeadline) {
  ASSERT_TRUE(sender_->send("12345", soon()));
  EXPECT_EQ(sender_->finish(Deadline::after(20ms)).error().code, Code::deadline_exceeded);
}

}  // namespace
}  // namespace citadel::cli
