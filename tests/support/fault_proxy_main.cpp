// fault_proxy HOST:PORT: a FaultProxy (fault_proxy.hpp) as a program, for tests in other languages. Prints
// the port that it listens on, then takes one command a line on standard input and answers each with one line
// on standard output: the counts as JSON, or `error: …`. A command has taken effect when its answer is there.
// Ends with its standard input.
//
//   pass · counts · black_hole [DIRECTION] · delay DIRECTION MILLISECONDS · slice BYTES · refuse on|off ·
//   reset_all reset_after DIRECTION BYTES [TIMES] · close_after DIRECTION BYTES [TIMES] · drop TIMES NEEDLE
//
// DIRECTION is to_server or to_client. NEEDLE is the rest of the line.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "support/fault_proxy.hpp"

namespace citadel::support {
namespace {

std::istream& operator>>(std::istream& in, Direction& direction) {
  std::string word;
  in >> word;
  if (word == "to_server") {
    direction = Direction::to_server;
  } else if (word == "to_client") {
    direction = Direction::to_client;
  } else {
    in.setstate(std::ios::failbit);
  }
  return in;
}

std::string counts_json(const FaultProxy::Counts& counts) {
  return fmt::format(
      R"({{"accepted":{},"unreachable":{},"refusals":{},"delays":{},"slices":{},"holds":{},"resets":{},"closes":{},)"
      R"("drops":{},"bytes_to_server":{},"bytes_to_client":{},"live":{}}})",
      counts.accepted, counts.unreachable, counts.refusals, counts.delays, counts.slices, counts.holds,
      counts.resets, counts.closes, counts.drops, counts.bytes_to_server, counts.bytes_to_client,
      counts.live);
}

bool end_after(FaultProxy& proxy, std::istream& words, bool hard) {
  auto direction = Direction::to_client;
  std::uint64_t bytes = 0;
  unsigned times = 1;
  if (!(words >> direction >> bytes)) return false;
  if (!(words >> times)) times = 1;
  hard ? proxy.reset_after(direction, bytes, times) : proxy.close_after(direction, bytes, times);
  return true;
}

bool drop(FaultProxy& proxy, std::istream& words) {
  unsigned times = 0;
  std::string needle;
  if (!(words >> times) || !std::getline(words >> std::ws, needle) || needle.empty()) return false;
  proxy.drop_server_bytes_containing(needle, times);
  return true;
}

bool black_hole(FaultProxy& proxy, std::istream& words) {
  auto direction = Direction::to_client;
  if ((words >> std::ws).eof()) {
    proxy.black_hole();
    return true;
  }
  if (!(words >> direction)) return false;
  proxy.black_hole(direction);
  return true;
}

bool delay(FaultProxy& proxy, std::istream& words) {
  auto direction = Direction::to_client;
  std::int64_t milliseconds = 0;
  if (!(words >> direction >> milliseconds)) return false;
  proxy.delay(direction, std::chrono::milliseconds(milliseconds));
  return true;
}

bool slice(FaultProxy& proxy, std::istream& words) {
  std::size_t bytes = 0;
  if (!(words >> bytes)) return false;
  proxy.slice(bytes);
  return true;
}

bool refuse(FaultProxy& proxy, std::istream& words) {
  std::string word;
  words >> word;
  if (word != "on" && word != "off") return false;
  proxy.refuse(word == "on");
  return true;
}

// False where the command cannot be understood.
bool obey(FaultProxy& proxy, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  if (command == "counts") return true;
  if (command == "pass") return proxy.pass(), true;
  if (command == "reset_all") return proxy.reset_all(), true;
  if (command == "black_hole") return black_hole(proxy, words);
  if (command == "delay") return delay(proxy, words);
  if (command == "slice") return slice(proxy, words);
  if (command == "refuse") return refuse(proxy, words);
  if (command == "drop") return drop(proxy, words);
  if (command == "reset_after" || command == "close_after") return end_after(proxy, words, command[0] == 'r');
  return false;
}

int run(const std::string& target) {
  const auto colon = target.rfind(':');
  const int port = colon == std::string::npos ? 0 : std::atoi(target.c_str() + colon + 1);
  if (port <= 0 || port > 65535) {
    std::cerr << "usage: fault_proxy HOST:PORT\n";
    return 2;
  }
  FaultProxy proxy(target.substr(0, colon), static_cast<std::uint16_t>(port));
  std::cout << proxy.port() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    if (obey(proxy, line)) {
      std::cout << counts_json(proxy.counts()) << std::endl;
    } else {
      std::cout << "error: not a command: " << line << std::endl;
    }
  }
  return 0;
}

}  // namespace
}  // namespace citadel::support

int main(int count, char** arguments) {
  return citadel::support::run(count == 2 ? arguments[1] : "");
}
