#include "support/temp_folder.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <system_error>

#include "base/check.hpp"

namespace citadel::support {
namespace {

// A Unix socket has 107 bytes: what is left goes to "/run/.s.PGSQL.65535" and a folder or two above it.
constexpr std::size_t path_bytes_max = 64;

std::string make_pattern(std::string_view folder, std::string_view name) {
  return fmt::format("{}/citadel-{}-XXXXXX", folder, name);
}

}  // namespace

TempFolder::TempFolder(std::string_view name) {
  const char* wanted = ::getenv("TMPDIR");
  auto made = make_pattern(wanted != nullptr && *wanted == '/' ? wanted : "/tmp", name);
  if (made.size() > path_bytes_max) made = make_pattern("/tmp", name);
  CITADEL_CHECK(::mkdtemp(made.data()) != nullptr, "no temporary folder can be made in TMPDIR");
  path_ = made;
}

TempFolder::~TempFolder() {
  std::error_code ignored;  // a file that a dying server still writes is not worth failing a test for
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace citadel::support
