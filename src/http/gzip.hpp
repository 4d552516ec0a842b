// Gzip (RFC 1952): bodies that arrive compressed, several members allowed, and answers that leave so. Pure.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace citadel::http {

// invalid_argument where the bytes are not whole gzip members; overloaded, as a marker for 413, where the
// text would be larger than `size_bytes_max`: a bomb costs that much memory and no more.
Result<std::string> gunzip(std::string_view compressed, std::size_t size_bytes_max);

std::string gzip(std::string_view text);

// One member, written piece by piece in constant memory: about 256 KiB, which are zlib's.
class GzipWriter {
 public:
  GzipWriter();
  ~GzipWriter();
  GzipWriter(GzipWriter&&) noexcept;
  GzipWriter& operator=(GzipWriter&&) noexcept;

  // `now`: what was added so far can be read from what was appended to `out` so far. It costs some
  // compression.
  enum class Flush : std::uint8_t { later, now };
  void add(std::string_view text, Flush flush, std::string& out);
  // The end of the member; after it, nothing is called.
  void finish(std::string& out);

 private:
  struct State;
  void deflate_all(std::string_view text, int flush, std::string& out);
  std::unique_ptr<State> state_;
};

}  // namespace citadel::http
