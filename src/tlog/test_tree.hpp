// For tests: trees computed as RFC 6962 section 2.1 defines them, by recursion over the leaves, and slow.
#pragma once
#include <gtest/gtest.h>

#include <bit>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "tlog/merkle.hpp"

namespace citadel::tlog {

// How much of what takes long is gone through. All of it in release, as SIMTESTS; under the address
// sanitizer, which makes it many times as slow, enough to pass every line.
#if __has_feature(address_sanitizer)
constexpr bool whole = false;
#else
constexpr bool whole = true;
#endif

inline Hash reference_root(std::span<const Hash> leaves) {
  if (leaves.empty()) return empty_root();
  if (leaves.size() == 1) return leaves[0];
  const std::size_t split = std::bit_floor(leaves.size() - 1);
  return node_hash(reference_root(leaves.first(split)), reference_root(leaves.subspan(split)));
}

// Distinct leaves: the hash of "entry N".
inline std::vector<Hash> test_leaves(std::size_t count) {
  std::vector<Hash> leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(leaf_hash(as_bytes("entry " + std::to_string(i))));
  return leaves;
}

// Reads complete subtrees out of all leaves, and notes which were asked for.
class LeavesReader final : public HashReader {
 public:
  explicit LeavesReader(std::span<const Hash> leaves) : leaves_(leaves) {}
  Result<Hash> read_hash(Subtree subtree) override {
    asked.push_back(subtree);
    const std::uint64_t begin = subtree.index << subtree.level;
    const std::uint64_t count = std::uint64_t{1} << subtree.level;
    if (begin + count > leaves_.size()) return fail(Code::internal, "asked for a subtree outside the tree");
    return reference_root(leaves_.subspan(begin, count));
  }
  std::vector<Subtree> asked;

 private:
  std::span<const Hash> leaves_;
};

inline Hash hash_from_hex(std::string_view hex) {
  return hash_from(as_bytes(*from_hex(hex))).value();
}

inline void flip_bit(Hash& hash, std::size_t bit) {
  hash[bit / 8 % hash.size()] ^= std::byte{1} << (bit % 8);
}

// The text with one bit of one byte changed.
inline std::string flipped(std::string text, std::size_t at, unsigned bit = 0) {
  text.at(at) = static_cast<char>(text.at(at) ^ 1 << bit);
  return text;
}

template <class T>
Code code_of(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? Code::internal : result.error().code;
}

}  // namespace citadel::tlog
