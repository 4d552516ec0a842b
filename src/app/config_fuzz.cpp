// The configuration reader on any bytes: it gives a Config that render_config() writes so that it is read
// again to the same values, or errors of whole lines. It never crashes or hangs.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "app/config.hpp"
#include "app/config_keys.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace citadel::app;
  const ConfigSources sources{.file = {}, .environment = {}, .read_secrets = false};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = parse_config(text, "/fuzz.toml", sources);
  if (!config) {
    if (config.error().message.empty()) std::abort();
    return 0;
  }
  const auto again = parse_config(render_config(*config), "/fuzz.toml", sources);
  if (!again) std::abort();
  for (const auto& key : config_keys()) {
    if (!same_value(key, *config, *again)) std::abort();
  }
  return 0;
}
