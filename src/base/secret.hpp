// Secret: a string that cannot be printed by accident. fmt and the log show "***", a stream does not take it;
// only reveal() gives the text, so a search for reveal() finds every place where a secret leaves. The memory
// is wiped when the object goes or is given another value; what reveal() was copied into is the caller's to
// wipe. Not thread-safe.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace citadel {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : text_(other.text_) { other.wipe(); }
  Secret& operator=(const Secret& other) {
    if (this != &other) {
      wipe();
      text_ = other.text_;
    }
    return *this;
  }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      text_ = other.text_;
      other.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }

  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }

  // Compares in a time that depends on the length of `candidate` alone.
  bool equals(std::string_view candidate) const;

 private:
  void wipe();
  std::string text_;
};

}  // namespace citadel

template <>
struct fmt::formatter<citadel::Secret> : fmt::formatter<std::string_view> {
  auto format(const citadel::Secret&, fmt::format_context& ctx) const {
    return fmt::formatter<std::string_view>::format("***", ctx);
  }
};
