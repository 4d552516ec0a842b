// journal_fuzz_seeds FOLDER: writes the seeds of journal_fuzz, which are in seeds/journal_fuzz. Run it again
// when the format has changed.
#include <filesystem>
#include <map>

#include "journal/test_folder.hpp"
#include "journal/test_image.hpp"

using namespace citadel::journal;

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path folder = arguments[1];
  const auto flipped = [](std::string bytes, std::size_t at) {
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    return bytes;
  };
  const Image groups = Image().group(1).group(2).group(1);
  const Image sealed = Image().group(2).seal();
  const std::map<std::string, std::string> seeds = {
      {"empty_segment", Image().padded(512)},
      {"three_groups", groups.padded(1'000)},
      {"sealed", sealed.padded(0)},
      {"torn_tail", groups.padded(0).substr(0, groups.size() - 20)},
      {"torn_group", flipped(groups.padded(0), groups.offset(3) + 8)},
      {"damaged_middle", flipped(groups.padded(0), groups.offset(1) + 100)},
      {"damaged_header", flipped(groups.padded(0), 20)},
      {"one_frame", groups.padded(0).substr(groups.offset(0), groups.offset(1) - groups.offset(0))},
  };
  for (const auto& [name, bytes] : seeds) spill(folder / name, bytes);
  return 0;
}
