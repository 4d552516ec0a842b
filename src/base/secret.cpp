#include "base/secret.hpp"

#include <string.h>

namespace citadel {

bool Secret::equals(std::string_view candidate) const {
  // The length of an empty secret must not match an empty candidate: no key is not a key.
  unsigned difference = text_.size() != candidate.size() || text_.empty();
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const char own = text_.empty() ? '\0' : text_[i % text_.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(own ^ candidate[i]));
  }
  return difference == 0;
}

void Secret::wipe() {
  ::explicit_bzero(text_.data(), text_.size());
  text_.clear();
}

}  // namespace citadel
