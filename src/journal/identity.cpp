#include "journal/identity.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/bytes.hpp"
#include "base/crash_point.hpp"
#include "base/file.hpp"

namespace citadel::journal {
namespace {

constexpr std::size_t file_bytes_max = 4096;

// One line that an operator can read: "citadel-journal 1 PRODUCER EPOCH CRC-32C".
std::string encode(const Identity& identity) {
  const std::string text =
      fmt::format("citadel-journal 1 {} {}", identity.producer.to_string(), identity.epoch);
  return fmt::format("{} {:08x}\n", text, crc32c(as_bytes(text)));
}

std::optional<Identity> decode(std::string_view content) {
  constexpr std::string_view prefix = "citadel-journal 1 ";
  constexpr std::size_t uuid_size = 36;
  if (!content.starts_with(prefix) || content.size() < prefix.size() + uuid_size + 1) return std::nullopt;
  const auto producer = parse_uuid(content.substr(prefix.size(), uuid_size));
  if (!producer) return std::nullopt;
  Identity identity{*producer, 0};
  const char* const number = content.data() + prefix.size() + uuid_size + 1;
  (void)std::from_chars(number, content.data() + content.size(), identity.epoch);
  // Writing it again compares every byte, the checksum included.
  if (encode(identity) != content) return std::nullopt;
  return identity;
}

std::filesystem::path identity_path(const std::filesystem::path& folder) {
  return folder / "identity";
}

}  // namespace

std::uint64_t next_epoch(std::uint64_t last, Random& random) {
  constexpr std::uint64_t drawn = (std::uint64_t{1} << epoch_drawn_bits) - 1;
  return (((last >> epoch_drawn_bits) + 1) << epoch_drawn_bits) | (random.next() & drawn);
}

Result<std::optional<Identity>> load_identity(const std::filesystem::path& folder) {
  const auto path = identity_path(folder);
  auto content = read_file(path, file_bytes_max);
  if (!content && content.error().code == Code::not_found) return std::nullopt;
  if (!content) return std::unexpected(std::move(content).error());
  const auto identity = decode(*content);
  if (!identity) return fail(Code::corrupt, fmt::format("{} is damaged", path.string()));
  return identity;
}

Result<void> store_identity(const std::filesystem::path& folder, const Identity& identity) {
  crash_point(CrashPoint::journal_epoch_before_write);
  CITADEL_TRY(write_file_durably(identity_path(folder), encode(identity), 0600));
  crash_point(CrashPoint::journal_epoch_after_write);
  return {};
}

}  // namespace citadel::journal
