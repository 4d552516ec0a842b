#include "cli/syslog_sender.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/socket.hpp"

namespace citadel::cli {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* found) const { ::freeaddrinfo(found); }
};

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

// errno, where the connection could not be made.
int connect_by(int fd, const addrinfo& address, Deadline deadline) {
  if (::connect(fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_ready(fd, POLLOUT, deadline, "connecting")) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

std::unexpected<Error> lost(int error) {
  return fail(Code::connection_lost, fmt::format("the syslog receiver: {}", std::strerror(error)));
}

}  // namespace

Result<SyslogTarget> parse_syslog_target(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::invalid_argument,
                fmt::format("--to: '{}' is neither tcp://HOST:PORT nor tls://HOST:PORT", text));
  };
  SyslogTarget target{.tls = text.starts_with("tls://"), .host = {}, .port = {}};
  if (!target.tls && !text.starts_with("tcp://")) return bad();
  auto rest = text.substr(6);
  const bool bracketed = rest.starts_with('[');
  const auto host_end = bracketed ? rest.find(']') : std::min(rest.find(':'), rest.size());
  if (host_end == std::string_view::npos) return bad();
  target.host = bracketed ? rest.substr(1, host_end - 1) : rest.substr(0, host_end);
  rest.remove_prefix(host_end + (bracketed ? 1 : 0));
  target.port = target.tls ? "6514" : "601";
  if (!rest.empty()) {
    if (rest.front() != ':' || !is_port(rest.substr(1))) return bad();
    target.port = rest.substr(1);
  }
  if (target.host.empty() || target.host.find_first_of("/?#@ ") != std::string::npos) return bad();
  return target;
}

Result<void> SyslogSender::connect(Deadline deadline) {
  tls_.reset();
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  // By no deadline but the resolver's own, which resolv.conf(5) sets: 10 s for each server by default.
  const int failed = ::getaddrinfo(target_.host.c_str(), target_.port.c_str(), &hints, &raw);
  const std::unique_ptr<addrinfo, FreeAddresses> found(raw);
  const auto place = fmt::format("{}:{}", target_.host, target_.port);
  if (failed != 0)
    return fail(Code::unavailable, fmt::format("cannot find {}: {}", place, ::gai_strerror(failed)));
  int error = EHOSTUNREACH;
  std::ptrdiff_t untried = 0;
  for (const auto* address = found.get(); address != nullptr; address = address->ai_next) ++untried;
  for (const auto* address = found.get(); address != nullptr && error != 0; address = address->ai_next) {
    // So that one that swallows everything leaves the others their share.
    const auto share = deadline.within(deadline.remaining() / untried--);
    socket_ = UniqueFd(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    error = socket_ ? connect_by(socket_.get(), *address, share) : errno;
  }
  if (error != 0)
    return fail(Code::unavailable, fmt::format("cannot connect to {}: {}", place, std::strerror(error)));
  if (!target_.tls) return {};
  auto stream =
      crypto::TlsStream::connect(std::move(socket_), {.host = target_.host, .ca_file = ca_file_}, deadline);
  if (!stream) return std::unexpected(std::move(stream).error().in(place));
  tls_ = *std::move(stream);
  return {};
}

Result<void> SyslogSender::send(std::string_view frames, Deadline deadline) {
  if (tls_) return tls_->write(frames, deadline);
  while (!frames.empty()) {
    const auto sent = ::send(socket_.get(), frames.data(), frames.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      frames.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      CITADEL_TRY(wait_ready(socket_.get(), POLLOUT, deadline, "sending to the syslog receiver"));
    } else if (errno != EINTR) {
      return lost(errno);
    }
  }
  return {};
}

// Reads what is there, which is nothing to us; whether that was all that ever comes.
Result<bool> SyslogSender::read_end() const {
  for (char ignored[4096];;) {
    const auto got = ::recv(socket_.get(), ignored, sizeof ignored, 0);
    if (got == 0) return true;
    if (got < 0 && errno == EAGAIN) return false;
    if (got < 0 && errno != EINTR) return lost(errno);
  }
}

Result<void> SyslogSender::finish(Deadline deadline) {
  if (tls_) {
    CITADEL_TRY(tls_->finish(deadline));
    tls_.reset();
    return {};
  }
  // An end that is there before ours is no answer to it: the receiver may never read what is on the way.
  CITADEL_ASSIGN(const bool ended, read_end());
  if (ended) return fail(Code::connection_lost, "the syslog receiver closed before it was told of the end");
  if (::shutdown(socket_.get(), SHUT_WR) != 0) return lost(errno);
  for (bool closed = false; !closed;) {
    CITADEL_TRY(wait_ready(socket_.get(), POLLIN, deadline, "waiting for the syslog receiver to close"));
    CITADEL_ASSIGN(closed, read_end());
  }
  CITADEL_TRY(wait_delivered(socket_.get(), deadline, "waiting for the syslog receiver to read all"));
  socket_.reset();
  return {};
}

}  // namespace citadel::cli
