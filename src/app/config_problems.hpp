// Problems: the faults of a configuration, gathered so that all are told at once. The texts hold no secret.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "app/config_keys.hpp"

namespace citadel::app {

class Problems {
 public:
  // "origin: subject: what"; an empty subject is left out.
  void add(std::string_view origin, std::string_view subject, std::string_view what);
  bool empty() const { return lines_.empty(); }
  // One line each; of very many the first hundred, and how many there are.
  std::string text() const;

 private:
  std::vector<std::string> lines_;
};

// Where the value came from, or "default".
std::string origin_of(const Config& config, std::string_view full_name);

// `toml` as errors may show it: a secret file's value becomes "***", a long one is cut.
std::string shown_value(const Key& key, std::string toml);

}  // namespace citadel::app
