#include "http/gzip.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <memory>

#include "base/check.hpp"

namespace citadel::http {
namespace {

constexpr int gzip_window_bits = 15 + 16;  // the largest window, gzip wrapper only
constexpr std::size_t step_bytes = 64 * 1024;
constexpr std::size_t deflate_step_bytes = 16 * 1024;

Bytef* bytes(const char* from) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(from));
}

}  // namespace

Result<std::string> gunzip(std::string_view compressed, std::size_t size_bytes_max) {
  z_stream stream{};
  CITADEL_CHECK(inflateInit2(&stream, gzip_window_bits) == Z_OK, "zlib has no memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, inflateEnd);
  stream.next_in = bytes(compressed.data());
  stream.avail_in = static_cast<uInt>(compressed.size());
  std::string out;
  for (;;) {
    const std::size_t before = out.size();
    // One byte beyond the limit shows that there is more.
    out.resize(std::min(before + step_bytes, size_bytes_max + 1));
    stream.next_out = bytes(out.data() + before);
    stream.avail_out = static_cast<uInt>(out.size() - before);
    const int status = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (out.size() > size_bytes_max) {
      return fail(Code::overloaded,
                  fmt::format("the body is larger than {} bytes after gunzip", size_bytes_max));
    }
    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0) return out;
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0)) {
      return fail(Code::invalid_argument, "the gzip body is cut off");
    } else if (status != Z_OK) {
      return fail(Code::invalid_argument,
                  fmt::format("the body is not gzip: {}", stream.msg ? stream.msg : "unknown reason"));
    }
  }
}

struct GzipWriter::State {
  State() {
    CITADEL_CHECK(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window_bits, 8,
                               Z_DEFAULT_STRATEGY) == Z_OK,
                  "zlib has no memory");
  }
  ~State() { deflateEnd(&stream); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  z_stream stream{};
};

GzipWriter::GzipWriter() : state_(std::make_unique<State>()) {}
GzipWriter::~GzipWriter() = default;
GzipWriter::GzipWriter(GzipWriter&&) noexcept = default;
GzipWriter& GzipWriter::operator=(GzipWriter&&) noexcept = default;

void GzipWriter::add(std::string_view text, Flush flush, std::string& out) {
  deflate_all(text, flush == Flush::now ? Z_SYNC_FLUSH : Z_NO_FLUSH, out);
}

void GzipWriter::finish(std::string& out) {
  deflate_all({}, Z_FINISH, out);
}

void GzipWriter::deflate_all(std::string_view text, int flush, std::string& out) {
  auto& stream = state_->stream;
  stream.next_in = bytes(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  do {
    const std::size_t before = out.size();
    out.resize(before + deflate_step_bytes);
    stream.next_out = bytes(out.data() + before);
    stream.avail_out = static_cast<uInt>(deflate_step_bytes);
    // Z_BUF_ERROR says that there was nothing to do, as where a flush follows a flush.
    CITADEL_CHECK(deflate(&stream, flush) != Z_STREAM_ERROR, "the stream of a GzipWriter was finished");
    out.resize(out.size() - stream.avail_out);
  } while (stream.avail_out == 0);
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  CITADEL_CHECK(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window_bits, 8,
                             Z_DEFAULT_STRATEGY) == Z_OK,
                "zlib has no memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, deflateEnd);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = bytes(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = bytes(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CITADEL_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflateBound was too small");
  out.resize(stream.total_out);
  return out;
}

}  // namespace citadel::http
