// What parse() accepts, and what is then written, parse() reads as the same value.
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <cstdlib>

#include "base/check.hpp"
#include "json/lines.hpp"
#include "json/object_reader.hpp"
#include "json/parse.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace citadel;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const json::ParseLimits limits{.depth_max = 32, .size_bytes_max = 1 << 20};
  if (const auto value = json::parse(text, limits)) {
    const std::string written = boost::json::serialize(*value);
    const auto again = json::parse(written, limits);
    CITADEL_CHECK(again.has_value(), "what was written is not read");
    // Texts, not values: -0.0 and 0 are equal as values.
    CITADEL_CHECK(boost::json::serialize(*again) == written, "what was written is read as something else");
    if (const auto* object = value->if_object()) {
      json::ObjectReader in(*object, "");
      (void)in.optional_integer("id", 0, 10);
      (void)in.optional_text("model", {.bytes_min = 1, .bytes_max = 8});
      (void)in.finish();
    }
  }
  (void)json::for_each_line(text, limits,
                            [](std::size_t, const boost::json::value&) -> Result<void> { return {}; });
  return 0;
}
