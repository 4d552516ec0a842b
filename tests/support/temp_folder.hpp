// TempFolder: a folder of its own in TMPDIR, removed with all that is in it at the end of the test. In /tmp
// where TMPDIR is not set, is no absolute path, or is so long that a server's socket would not fit into the
// folder. Aborts where it cannot be made: a test without its folder says nothing.
#pragma once
#include <filesystem>
#include <string_view>

namespace citadel::support {

class TempFolder {
 public:
  explicit TempFolder(std::string_view name = "test");  // citadel-NAME-XXXXXX, mode 0700
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  operator const std::filesystem::path&() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace citadel::support
