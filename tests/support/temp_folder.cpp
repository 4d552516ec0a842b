#include "support/temp_folder.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <system_error>

#include "base/check.hpp"

namespace citadel::support {

TempFolder::TempFolder(std::string_view name) {
  std::string made = fmt::format("/tmp/citadel-{}-XXXXXX", name);
  CITADEL_CHECK(::mkdtemp(made.data()) != nullptr, "no temporary folder can be made under /tmp");
  path_ = made;
}

TempFolder::~TempFolder() {
  std::error_code ignored;  // a file that a dying server still writes is not worth failing a test for
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace citadel::support
