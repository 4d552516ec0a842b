// Rules between keys, which no key's own limits can express.
#pragma once
#include <span>
#include <string_view>

#include "app/config_problems.hpp"

namespace citadel::app {

struct Rule {
  std::string_view key;    // blamed first, at its place in the file
  std::string_view other;  // blamed where `key` has its default; may be empty
  std::string_view text;   // what must hold
  bool (*holds)(const Config&);
};

std::span<const Rule> config_rules();
void check_rules(const Config& config, Problems& problems);

}  // namespace citadel::app
