#include "local/ports.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/file.hpp"

namespace citadel::local {
namespace {

Result<sockaddr_in> make_address(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return fail(Code::invalid_argument, fmt::format("{} is not an IPv4 address to listen on", host));
  }
  return address;
}

// The socket inodes that listen on the port.
std::vector<std::string> listening_inodes(std::uint16_t port) {
  std::vector<std::string> out;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      if (state == "0A" && local.ends_with(fmt::format(":{:04X}", port))) out.push_back(inode);
    }
  }
  return out;
}

}  // namespace

std::string listener_of(std::uint16_t port) {
  std::error_code error;
  for (const auto& inode : listening_inodes(port)) {
    const auto wanted = fmt::format("socket:[{}]", inode);
    for (std::filesystem::directory_iterator process("/proc", error), end; process != end;
         process.increment(error)) {
      const auto pid = process->path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      std::error_code denied;
      for (std::filesystem::directory_iterator fd(process->path() / "fd", denied); !denied && fd != end;
           fd.increment(denied)) {
        std::error_code gone;
        if (std::filesystem::read_symlink(fd->path(), gone) != wanted) continue;
        auto name = read_file(process->path() / "comm", 64).value_or("a program\n");
        name.resize(std::min(name.find('\n'), name.size()));
        return fmt::format("{} (process {})", name, pid);
      }
    }
  }
  return {};
}

Result<void> check_port_free(const std::string& host, std::uint16_t port, std::string_view setting) {
  CITADEL_ASSIGN(const auto address, make_address(host, port));
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "make a socket");
  const int on = 1;  // as the servers do: connections that linger in TIME_WAIT are not in the way
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(fd.get(), 1) == 0) {
    return {};
  }
  const int why = errno;
  if (why != EADDRINUSE) return fail_errno(why, fmt::format("listen on {}:{} ({})", host, port, setting));
  auto who = listener_of(port);
  if (who.empty()) who = "another program";
  return fail(Code::conflict,
              fmt::format("port {} of {} is in use by {}; stop it, or choose another port with {}", port,
                          host, who, setting));
}

bool answers(const std::string& host, std::uint16_t port) {
  const auto address = make_address(host, port);
  if (!address) return false;
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = 0, .tv_usec = 200'000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) return false;
  constexpr unsigned char ssl_request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
  char answer = 0;
  return ::send(fd.get(), ssl_request, sizeof ssl_request, MSG_NOSIGNAL) == sizeof ssl_request &&
         ::recv(fd.get(), &answer, 1, 0) == 1 && (answer == 'N' || answer == 'S');
}

}  // namespace citadel::local
