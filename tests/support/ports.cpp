#include "support/ports.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mutex>
#include <vector>

#include "base/check.hpp"
#include "base/file.hpp"

namespace citadel::support {
namespace {

constexpr int port_first = 20000;
constexpr int port_count = 10000;
constexpr const char* folder = "/tmp/citadel-test-ports";

bool nobody_listens(std::uint16_t port) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// The lock, or none where another process holds it.
UniqueFd lock_port(std::uint16_t port) {
  const auto path = fmt::format("{}/{}", folder, port);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!fd) return {};
  ::fchmod(fd.get(), 0666);  // past the umask: tests of another user lock it too
  return ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 ? std::move(fd) : UniqueFd{};
}

}  // namespace

std::uint16_t reserve_port() {
  static std::mutex mutex;
  static std::vector<UniqueFd> held;
  const std::lock_guard lock(mutex);
  if (::mkdir(folder, 01777) == 0) ::chmod(folder, 01777);
  // Programs start at different places, so that they seldom try each other's.
  const int start = static_cast<int>(::getpid()) * 37 + static_cast<int>(held.size());
  for (int i = 0; i < port_count; ++i) {
    const auto port = static_cast<std::uint16_t>(port_first + (start + i) % port_count);
    auto fd = lock_port(port);
    if (!fd || !nobody_listens(port)) continue;
    held.push_back(std::move(fd));
    return port;
  }
  CITADEL_CHECK(false, "no free port from 20000 to 29999 for a test");
}

}  // namespace citadel::support
