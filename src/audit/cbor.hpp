// Deterministic CBOR (RFC 8949 §4.2.1), as far as leaves, envelopes and records need it: integers, byte and
// text strings, arrays and maps. No floats, tags or simple values. Every number and length has its shortest
// form, every length is definite, keys of maps are integers or strings in the order of their bytes: one value
// has one encoding.
//
//   cbor::Writer out;
//   out.array(2).number(7).text("seven");
//   cbor::Reader in(bytes);
//   if (in.array() == 2) { … in.number(); in.text(); }
//   if (!in.finish()) … // corrupt: nothing else was accepted either
//
// The reader refuses whatever the writer would not write, strings that are not UTF-8, bytes behind the value
// and more than depth_max levels. Past the first fault it gives zeros, so that a caller looks once, at the
// end. Pure; one object belongs to one thread at a time.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/error.hpp"

namespace citadel::audit::cbor {

inline constexpr std::size_t depth_max = 8;

class Writer {
 public:
  explicit Writer(std::size_t size_bytes_hint = 0) { out_.reserve(size_bytes_hint); }

  Writer& number(std::uint64_t value);
  Writer& integer(std::int64_t value);
  Writer& bytes(Bytes value);
  Writer& text(std::string_view value);  // UTF-8, as the caller knows
  // The items follow, for a map key and value in turn, keys in their order: the caller's to do.
  Writer& array(std::size_t count);
  Writer& map(std::size_t count);

  std::string take() { return std::move(out_); }

 private:
  void head(unsigned major, std::uint64_t argument);
  std::string out_;
};

enum class Type : std::uint8_t { number = 0, negative = 1, bytes = 2, text = 3, array = 4, map = 5 };

class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}

  std::uint64_t number();
  std::int64_t integer();
  Bytes bytes();
  std::string_view text();
  // How many items, or pairs, follow; 0 after a fault. Never more than there are bytes.
  std::size_t array();
  std::size_t map();

  // Exactly N bytes, else a fault.
  template <std::size_t N>
  std::array<std::byte, N> fixed() {
    std::array<std::byte, N> out{};
    const Bytes raw = bytes();
    if (raw.size() == N) {
      std::memcpy(out.data(), raw.data(), N);
    } else {
      fail("a byte string has another length");
    }
    return out;
  }

  // The next item's; nullopt at the end and after a fault.
  std::optional<Type> peek() const;
  // A caller's own rule; only the first fault is kept.
  void fail(const char* what) {
    if (fault_ == nullptr) fault_ = what;
  }
  bool good() const { return fault_ == nullptr; }
  // corrupt where there was a fault, a container lacks items, or bytes are left.
  Result<void> finish();

 private:
  struct Open {
    std::uint64_t items_left = 0;  // keys and values both count
    bool is_map = false;
    std::size_t key_start = 0;  // the last key's bytes
    std::size_t key_end = 0;
  };

  std::uint64_t head(Type type);
  std::uint64_t argument(unsigned info);
  std::size_t container(Type type);
  Bytes string(Type type);
  void before_item(Type type);
  void after_item(std::size_t start);
  void check_key(Open& open, std::size_t start);

  Bytes bytes_;
  std::size_t at_ = 0;
  const char* fault_ = nullptr;
  std::array<Open, depth_max> open_{};
  std::size_t depth_ = 0;
  bool ended_ = false;  // the one value at the top was read
};

}  // namespace citadel::audit::cbor
