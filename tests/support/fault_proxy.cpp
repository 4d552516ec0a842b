#include "support/fault_proxy.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.hpp"
#include "base/file.hpp"
#include "support/ports.hpp"

namespace citadel::support {
namespace {

constexpr std::size_t buffered_bytes_max = 1 << 20;  // of one direction; then it is not read from

enum class Ending : std::uint8_t { none, reset, close };

// What one direction is to do.
struct Rule {
  std::chrono::milliseconds delay{0};
  bool hold = false;
  Ending ending = Ending::none;
  std::uint64_t ending_after_bytes = 0;
  std::string needle;
  unsigned times = 0;            // how often ending or needle may still fire
  std::uint64_t generation = 0;  // a new one starts the byte counts anew
};

struct Chunk {
  MonotonicTime due;
  std::string bytes;
};

struct Half {  // one direction of one connection
  std::deque<Chunk> queue;
  std::size_t queued_bytes = 0;
  std::string suspect;  // the end of what was read, which may be the start of the needle
  std::uint64_t generation = 0;
  std::uint64_t forwarded_since = 0;  // the rule's generation
  bool read_ended = false, write_ended = false, held = false;
};

struct Connection {
  std::array<UniqueFd, 2>
      fds;  // [0] the server's side, [1] the client's: a direction's index is where it writes to
  std::array<Half, 2> halves;
  bool done = false;
};

constexpr std::size_t index_of(Direction direction) {
  return static_cast<std::size_t>(direction);
}

void reset(Connection& connection) {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  for (auto& fd : connection.fds) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    fd.reset();
  }
  connection.done = true;
}

void close(Connection& connection) {
  for (auto& fd : connection.fds) {
    // With unread bytes the kernel would send RST.
    char ignored[65536];
    while (::recv(fd.get(), ignored, sizeof ignored, 0) > 0) {
    }
    fd.reset();
  }
  connection.done = true;
}

sockaddr_in address_of(const std::string& host, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  CITADEL_CHECK(::inet_pton(AF_INET, host.c_str(), &out.sin_addr) == 1,
                "the proxy's target is an IPv4 address");
  return out;
}

// The length of the longest end of `text` that is a start of `needle`, short of all of it.
std::size_t overlap(std::string_view text, std::string_view needle) {
  for (std::size_t length = std::min(text.size(), needle.size() - 1); length > 0; --length) {
    if (text.ends_with(needle.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

struct FaultProxy::Loop {
  const std::string target_host;
  const std::uint16_t target_port;
  const std::uint16_t port = reserve_port();
  UniqueFd wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

  mutable std::mutex mutex;  // all below
  mutable std::condition_variable changed;
  std::condition_variable turned;  // after each turn of the loop
  std::uint64_t turns = 0;
  std::array<Rule, 2> rules;
  std::size_t slice = 0;
  bool refuse = false, quit = false;
  std::uint64_t generation = 0;
  Counts counts;
  UniqueFd listener;
  std::list<Connection> connections;
  std::thread thread;

  Loop(std::string host, std::uint16_t port_of_target)
      : target_host(std::move(host)), target_port(port_of_target) {}

  void command(const std::function<void()>& change);
  void run();
  void listen();
  void accept();
  int patience() const;
  void read_from(Connection& connection, std::size_t direction);
  bool match_needle(Connection& connection, std::size_t direction, std::string& bytes);
  void write_to(Connection& connection, std::size_t direction);
  void flush(Connection& connection, std::size_t direction);
  bool finish(Connection& connection, std::size_t direction);
  bool wants_read(Connection& connection, std::size_t direction);
  bool wants_write(const Connection& connection, std::size_t direction) const;
  void turn(const std::vector<pollfd>& fds);
};

void FaultProxy::Loop::listen() {
  listener = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto address = address_of("127.0.0.1", port);
  CITADEL_CHECK(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                    ::listen(listener.get(), 1024) == 0,
                "the proxy cannot listen");
}

// Changes something and waits until the loop has seen it.
void FaultProxy::Loop::command(const std::function<void()>& change) {
  std::unique_lock lock(mutex);
  change();
  const auto seen = turns + 2;  // the turn that runs now may have looked already
  while (turns < seen) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto ignored = ::write(wake.get(), &one, sizeof one);
    turned.wait_for(lock, std::chrono::milliseconds(10));
  }
}

void FaultProxy::Loop::accept() {
  UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client) return;
  ++counts.accepted;
  UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = address_of(target_host, target_port);
  // On loopback a connect is answered at once, so it may block.
  if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ++counts.unreachable;
    return;
  }
  ::fcntl(server.get(), F_SETFL, O_NONBLOCK);
  const int on = 1;
  for (const int fd : {server.get(), client.get()})
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  auto& connection = connections.emplace_back();
  connection.fds = {std::move(server), std::move(client)};
}

bool FaultProxy::Loop::wants_read(Connection& connection, std::size_t direction) {
  const auto& half = connection.halves[direction];
  if (half.read_ended || half.queued_bytes >= buffered_bytes_max) return false;
  return !rules[direction].hold || !half.held;  // in a black hole once, to count it
}

bool FaultProxy::Loop::wants_write(const Connection& connection, std::size_t direction) const {
  const auto& half = connection.halves[direction];
  return !half.queue.empty() && !rules[direction].hold && half.queue.front().due <= Monotonic::now();
}

// Cuts `bytes` at the needle and gives true, or keeps back what may be its start.
bool FaultProxy::Loop::match_needle(Connection& connection, std::size_t direction, std::string& bytes) {
  auto& half = connection.halves[direction];
  const auto& rule = rules[direction];
  bytes.insert(0, std::exchange(half.suspect, {}));
  if (rule.needle.empty() || rule.times == 0) return false;
  const auto at = bytes.find(rule.needle);
  if (at != std::string::npos) {
    bytes.resize(at);
    return true;
  }
  const auto kept = overlap(bytes, rule.needle);
  half.suspect = bytes.substr(bytes.size() - kept);
  bytes.resize(bytes.size() - kept);
  return false;
}

void FaultProxy::Loop::read_from(Connection& connection, std::size_t direction) {
  auto& half = connection.halves[direction];
  auto& rule = rules[direction];
  if (rule.hold) {
    half.held = true;
    ++counts.holds;
    return;
  }
  half.held = false;
  char buffer[65536];
  const auto got = ::recv(connection.fds[1 - direction].get(), buffer, sizeof buffer, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) return reset(connection);
  if (got == 0) {
    half.read_ended = true;
    if (!half.suspect.empty()) half.queue.push_back({Monotonic::now(), std::exchange(half.suspect, {})});
    return;
  }
  std::string bytes(buffer, static_cast<std::size_t>(got));
  const bool matched = match_needle(connection, direction, bytes);
  if (rule.delay.count() > 0) ++counts.delays;
  half.queued_bytes += bytes.size();
  if (!bytes.empty()) half.queue.push_back({Monotonic::now() + rule.delay, std::move(bytes)});
  if (matched) {
    --rule.times;
    ++counts.drops;
    ++counts.resets;
    flush(connection, direction);
    reset(connection);
  }
}

// Writes what is due, as far as the socket takes it.
void FaultProxy::Loop::flush(Connection& connection, std::size_t direction) {
  const auto& half = connection.halves[direction];
  for (auto before = half.queued_bytes + 1;
       half.queued_bytes < before && wants_write(connection, direction);) {
    before = half.queued_bytes;
    write_to(connection, direction);
    if (connection.done) return;
  }
}

// The rule's ending, where its bytes have flowed.
bool FaultProxy::Loop::finish(Connection& connection, std::size_t direction) {
  auto& rule = rules[direction];
  if (rule.ending == Ending::none || rule.times == 0) return false;
  if (connection.halves[direction].forwarded_since < rule.ending_after_bytes) return false;
  --rule.times;
  if (rule.ending == Ending::reset) {
    ++counts.resets;
    reset(connection);
  } else {
    ++counts.closes;
    close(connection);
  }
  return true;
}

void FaultProxy::Loop::write_to(Connection& connection, std::size_t direction) {
  auto& half = connection.halves[direction];
  const auto& rule = rules[direction];
  if (half.generation != rule.generation) {
    half.generation = rule.generation;
    half.forwarded_since = 0;
  }
  auto& bytes = half.queue.front().bytes;
  auto size = bytes.size();
  if (slice > 0 && size > slice) {
    size = slice;
    ++counts.slices;
  }
  if (rule.ending != Ending::none && rule.times > 0) {
    size = std::min<std::size_t>(
        size, rule.ending_after_bytes - std::min(rule.ending_after_bytes, half.forwarded_since));
  }
  if (size > 0) {
    const auto sent = ::send(connection.fds[direction].get(), bytes.data(), size, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return reset(connection);
    const auto count = static_cast<std::size_t>(sent);
    bytes.erase(0, count);
    half.queued_bytes -= count;
    half.forwarded_since += count;
    (direction == index_of(Direction::to_server) ? counts.bytes_to_server : counts.bytes_to_client) += count;
  }
  if (bytes.empty()) half.queue.pop_front();
  finish(connection, direction);
}

int FaultProxy::Loop::patience() const {
  auto wait = std::chrono::milliseconds(1000);
  const auto now = Monotonic::now();
  for (const auto& connection : connections) {
    for (std::size_t direction = 0; direction < 2; ++direction) {
      const auto& queue = connection.halves[direction].queue;
      // What is due already waits for its socket, which poll reports.
      if (queue.empty() || rules[direction].hold || queue.front().due <= now) continue;
      wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(queue.front().due - now));
    }
  }
  return static_cast<int>(wait.count());
}

void FaultProxy::Loop::turn(const std::vector<pollfd>& fds) {
  std::size_t next = 2;
  for (auto& connection : connections) {
    if (next >= fds.size()) break;  // accepted since poll
    for (std::size_t side = 0; side < 2; ++side, ++next) {
      // Bytes from side 0, the server, go to the client.
      const std::size_t direction = 1 - side;
      const auto happened = fds[next].revents;
      if (connection.done || fds[next].fd < 0) continue;
      if ((happened & (POLLIN | POLLHUP | POLLERR)) != 0 && wants_read(connection, direction)) {
        read_from(connection, direction);
      }
      if (!connection.done && wants_write(connection, side)) write_to(connection, side);
    }
    for (std::size_t direction = 0; direction < 2 && !connection.done; ++direction) {
      auto& half = connection.halves[direction];
      if (!half.read_ended || !half.queue.empty() || half.write_ended || rules[direction].hold) continue;
      ::shutdown(connection.fds[direction].get(), SHUT_WR);
      half.write_ended = true;
    }
    if (connection.halves[0].write_ended && connection.halves[1].write_ended) connection.done = true;
  }
  connections.remove_if([](const Connection& connection) { return connection.done; });
}

void FaultProxy::Loop::run() {
  std::unique_lock lock(mutex);
  while (!quit) {
    if (refuse && listener) {
      listener.reset();
      ++counts.refusals;
    }
    if (!refuse && !listener) listen();
    std::vector<pollfd> fds{{wake.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    for (auto& connection : connections) {
      for (std::size_t side = 0; side < 2; ++side) {
        short events = 0;
        if (wants_read(connection, 1 - side)) events |= POLLIN;
        if (wants_write(connection, side)) events |= POLLOUT;
        // Without events poll would still report a hang-up, again and again.
        fds.push_back({events == 0 ? -1 : connection.fds[side].get(), events, 0});
      }
    }
    const int wait = patience();
    lock.unlock();
    ::poll(fds.data(), fds.size(), wait);
    std::uint64_t ignored = 0;
    [[maybe_unused]] const auto got = ::read(wake.get(), &ignored, sizeof ignored);
    lock.lock();
    turn(fds);
    if (listener && (fds[1].revents & POLLIN) != 0) accept();
    counts.live = connections.size();
    ++turns;
    turned.notify_all();
    changed.notify_all();
  }
}

FaultProxy::FaultProxy(std::string target_host, std::uint16_t target_port)
    : loop_(std::make_unique<Loop>(std::move(target_host), target_port)) {
  loop_->listen();
  loop_->thread = std::thread([loop = loop_.get()] { loop->run(); });
}

FaultProxy::~FaultProxy() {
  {
    const std::lock_guard lock(loop_->mutex);
    loop_->quit = true;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(loop_->wake.get(), &one, sizeof one);
  loop_->thread.join();
}

std::uint16_t FaultProxy::port() const {
  return loop_->port;
}

FaultProxy::Counts FaultProxy::counts() const {
  const std::lock_guard lock(loop_->mutex);
  return loop_->counts;
}

bool FaultProxy::wait_for(const std::function<bool(const Counts&)>& condition, Deadline deadline) const {
  std::unique_lock lock(loop_->mutex);
  return loop_->changed.wait_until(lock, deadline.when(), [&] { return condition(loop_->counts); });
}

void FaultProxy::pass() {
  loop_->command([this] {
    loop_->rules = {};
    for (auto& rule : loop_->rules) rule.generation = ++loop_->generation;
    loop_->slice = 0;
    loop_->refuse = false;
    for (auto& connection : loop_->connections) {
      for (auto& half : connection.halves) {
        half.held = false;
        if (!half.suspect.empty()) half.queue.push_back({Monotonic::now(), std::exchange(half.suspect, {})});
      }
    }
  });
}

void FaultProxy::delay(Direction direction, std::chrono::milliseconds by) {
  loop_->command([&] { loop_->rules[index_of(direction)].delay = by; });
}

void FaultProxy::slice(std::size_t size_bytes_max) {
  loop_->command([&] { loop_->slice = size_bytes_max; });
}

void FaultProxy::black_hole() {
  loop_->command([this] {
    for (auto& rule : loop_->rules) rule.hold = true;
  });
}

void FaultProxy::black_hole(Direction direction) {
  loop_->command([&] { loop_->rules[index_of(direction)].hold = true; });
}

void FaultProxy::reset_after(Direction direction, std::uint64_t bytes, unsigned times) {
  loop_->command([&] {
    auto& rule = loop_->rules[index_of(direction)];
    rule.ending = Ending::reset;
    rule.ending_after_bytes = bytes;
    rule.times = times;
    rule.generation = ++loop_->generation;
  });
}

void FaultProxy::close_after(Direction direction, std::uint64_t bytes, unsigned times) {
  reset_after(direction, bytes, times);
  loop_->command([&] { loop_->rules[index_of(direction)].ending = Ending::close; });
}

void FaultProxy::drop_server_bytes_containing(std::string needle, unsigned times) {
  drop_bytes_containing(Direction::to_client, std::move(needle), times);
}

void FaultProxy::drop_client_bytes_containing(std::string needle, unsigned times) {
  drop_bytes_containing(Direction::to_server, std::move(needle), times);
}

void FaultProxy::drop_bytes_containing(Direction direction, std::string needle, unsigned times) {
  CITADEL_CHECK(!needle.empty(), "an empty needle is in everything");
  loop_->command([&] {
    auto& rule = loop_->rules[index_of(direction)];
    rule.needle = std::move(needle);
    rule.ending = Ending::none;
    rule.times = times;
  });
}

void FaultProxy::reset_all() {
  loop_->command([this] {
    for (auto& connection : loop_->connections) {
      reset(connection);
      ++loop_->counts.resets;
    }
  });
}

void FaultProxy::refuse(bool on) {
  loop_->command([&] { loop_->refuse = on; });
}

}  // namespace citadel::support
