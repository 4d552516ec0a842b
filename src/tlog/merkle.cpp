#include "tlog/merkle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/base64.hpp"
#include "base/check.hpp"

namespace citadel::tlog {
namespace {

constexpr std::byte leaf_prefix{0};
constexpr std::byte node_prefix{1};
// Of a leaf that is copied behind its prefix, because one piece hashes faster than two. Most have 150.
constexpr std::size_t copied_bytes_max = 511;

// The leaves [begin, end) of a tree whose hash a proof has: RFC 6962's MTH(D[begin:end]).
struct Range {
  std::uint64_t begin;
  std::uint64_t end;
};

// The largest complete subtrees that make up a range, from left to right. A range of a proof begins where a
// subtree of at least its size does.
void append_subtrees(Range range, std::vector<Subtree>& out) {
  while (range.begin < range.end) {
    const auto level = static_cast<std::uint8_t>(std::bit_width(range.end - range.begin) - 1);
    out.push_back({level, range.begin >> level});
    range.begin += std::uint64_t{1} << level;
  }
}

Hash fold(std::span<const Hash> hashes) {
  Hash root = hashes.back();
  for (std::size_t i = hashes.size() - 1; i-- > 0;) root = node_hash(hashes[i], root);
  return root;
}

// Where RFC 6962 section 2.1 divides a tree: the largest power of two below its size.
std::uint64_t middle(Range range) {
  return range.begin + std::bit_floor(range.end - range.begin - 1);
}

// RFC 6962 section 2.1.1, PATH: from the root down, then turned round.
std::vector<Range> inclusion_ranges(std::uint64_t index, std::uint64_t size) {
  std::vector<Range> ranges;
  Range tree{0, size};
  while (tree.end - tree.begin > 1) {
    const std::uint64_t split = middle(tree);
    if (index < split) {
      ranges.push_back({split, tree.end});
      tree.end = split;
    } else {
      ranges.push_back({tree.begin, split});
      tree.begin = split;
    }
  }
  std::ranges::reverse(ranges);
  return ranges;
}

// RFC 6962 section 2.1.2, SUBPROOF. The old tree's root is left out where it is a subtree of the new tree.
std::vector<Range> consistency_ranges(std::uint64_t old_size, std::uint64_t size) {
  if (old_size == 0 || old_size == size) return {};
  std::vector<Range> ranges;
  Range tree{0, size};
  while (tree.end != old_size) {
    const std::uint64_t split = middle(tree);
    if (old_size <= split) {
      ranges.push_back({split, tree.end});
      tree.end = split;
    } else {
      ranges.push_back({tree.begin, split});
      tree.begin = split;
    }
  }
  if (tree.begin != 0) ranges.push_back(tree);
  std::ranges::reverse(ranges);
  return ranges;
}

std::vector<Subtree> subtrees_of(std::span<const Range> ranges) {
  std::vector<Subtree> out;
  for (const Range range : ranges) append_subtrees(range, out);
  return out;
}

Result<Hash> read_range(HashReader& reader, Range range) {
  std::vector<Subtree> subtrees;
  append_subtrees(range, subtrees);
  std::vector<Hash> hashes;
  for (const Subtree subtree : subtrees) {
    CITADEL_ASSIGN(const Hash hash, reader.read_hash(subtree));
    hashes.push_back(hash);
  }
  return fold(hashes);
}

Result<std::vector<Hash>> read_ranges(HashReader& reader, std::span<const Range> ranges) {
  std::vector<Hash> proof;
  for (const Range range : ranges) {
    CITADEL_ASSIGN(const Hash hash, read_range(reader, range));
    proof.push_back(hash);
  }
  return proof;
}

Result<void> check_index(std::uint64_t index, std::uint64_t size) {
  if (size > tree_size_max) return fail(Code::invalid_argument, fmt::format("no tree has {} leaves", size));
  if (index >= size) {
    return fail(Code::invalid_argument, fmt::format("a tree of {} leaves has none at {}", size, index));
  }
  return {};
}

Result<void> check_sizes(std::uint64_t old_size, std::uint64_t size) {
  if (size > tree_size_max) return fail(Code::invalid_argument, fmt::format("no tree has {} leaves", size));
  if (old_size > size) {
    return fail(Code::invalid_argument,
                fmt::format("a tree does not shrink from {} to {} leaves", old_size, size));
  }
  return {};
}

bool is_odd(std::uint64_t value) {
  return (value & 1) != 0;
}

}  // namespace

Hash leaf_hash(Bytes entry) {
  if (entry.size() > copied_bytes_max) return crypto::sha256_of_pieces({{&leaf_prefix, 1}, entry});
  std::array<std::byte, 1 + copied_bytes_max> whole;
  whole[0] = leaf_prefix;
  std::ranges::copy(entry, whole.begin() + 1);
  return crypto::sha256({whole.data(), 1 + entry.size()});
}

Hash node_hash(const Hash& left, const Hash& right) {
  std::array<std::byte, 1 + 2 * hash_bytes> whole;
  whole[0] = node_prefix;
  std::ranges::copy(right, std::ranges::copy(left, whole.begin() + 1).out);
  return crypto::sha256(whole);
}

Hash empty_root() {
  static const Hash root = crypto::sha256({});
  return root;
}

Result<Hash> hash_from(Bytes bytes) {
  if (bytes.size() != hash_bytes) {
    return fail(Code::corrupt, fmt::format("a hash has {} bytes, not {}", hash_bytes, bytes.size()));
  }
  Hash hash;
  std::ranges::copy(bytes, hash.begin());
  return hash;
}

Result<Hash> hash_from_base64(std::string_view text) {
  const auto bytes = from_base64(text);
  if (!bytes) return fail(Code::corrupt, "a hash is not the base64 of bytes");
  return hash_from(as_bytes(*bytes));
}

Result<CompactRange> CompactRange::from(std::uint64_t size, std::vector<Hash> hashes) {
  if (size > tree_size_max || static_cast<std::size_t>(std::popcount(size)) != hashes.size()) {
    return fail(Code::corrupt,
                fmt::format("{} hashes do not stand for a tree of {} leaves", hashes.size(), size));
  }
  CompactRange range;
  range.size_ = size;
  range.hashes_ = std::move(hashes);
  return range;
}

void CompactRange::append(const Hash& leaf) {
  CITADEL_CHECK(size_ < tree_size_max, "the tree is full");
  hashes_.push_back(leaf);
  // Each trailing one bit of the size is a subtree on the right that the new one completes.
  for (std::uint64_t rest = size_; is_odd(rest); rest >>= 1) {
    const Hash right = hashes_.back();
    hashes_.pop_back();
    hashes_.back() = node_hash(hashes_.back(), right);
  }
  ++size_;
}

Hash CompactRange::root() const {
  return hashes_.empty() ? empty_root() : fold(hashes_);
}

std::string CompactRange::encode() const {
  std::string out;
  append_be(out, size_);
  for (const Hash& hash : hashes_) out += as_text(hash);
  return out;
}

Result<CompactRange> CompactRange::decode(Bytes bytes) {
  if (bytes.size() < sizeof(std::uint64_t)) return fail(Code::corrupt, "a compact range without a size");
  const auto size = load_be<std::uint64_t>(bytes.data());
  bytes = bytes.subspan(sizeof size);
  if (bytes.size() % hash_bytes != 0) return fail(Code::corrupt, "a compact range with a part of a hash");
  std::vector<Hash> hashes(bytes.size() / hash_bytes);
  for (Hash& hash : hashes) {
    std::ranges::copy(bytes.first<hash_bytes>(), hash.begin());
    bytes = bytes.subspan(hash_bytes);
  }
  return from(size, std::move(hashes));
}

std::vector<Subtree> subtrees_for_root(std::uint64_t size) {
  if (size > tree_size_max) return {};
  std::vector<Subtree> out;
  append_subtrees({0, size}, out);
  return out;
}

std::vector<Subtree> subtrees_for_inclusion(std::uint64_t index, std::uint64_t size) {
  if (!check_index(index, size)) return {};
  return subtrees_of(inclusion_ranges(index, size));
}

std::vector<Subtree> subtrees_for_consistency(std::uint64_t old_size, std::uint64_t size) {
  if (!check_sizes(old_size, size)) return {};
  return subtrees_of(consistency_ranges(old_size, size));
}

Result<Hash> read_root(HashReader& reader, std::uint64_t size) {
  if (size > tree_size_max) return fail(Code::invalid_argument, fmt::format("no tree has {} leaves", size));
  if (size == 0) return empty_root();
  return read_range(reader, {0, size});
}

Result<std::vector<Hash>> prove_inclusion(HashReader& reader, std::uint64_t index, std::uint64_t size) {
  CITADEL_TRY(check_index(index, size));
  return read_ranges(reader, inclusion_ranges(index, size));
}

Result<std::vector<Hash>> prove_consistency(HashReader& reader, std::uint64_t old_size, std::uint64_t size) {
  CITADEL_TRY(check_sizes(old_size, size));
  return read_ranges(reader, consistency_ranges(old_size, size));
}

Result<void> verify_inclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size,
                              std::span<const Hash> proof, const Hash& root) {
  CITADEL_TRY(check_index(index, size));
  // `node` is the number of the node that `hash` is of, `last` that of its level's last one.
  std::uint64_t node = index;
  std::uint64_t last = size - 1;
  Hash hash = leaf;
  for (const Hash& other : proof) {
    if (last == 0) return fail(Code::corrupt, "the inclusion proof has more hashes than the tree has levels");
    if (is_odd(node) || node == last) {
      hash = node_hash(other, hash);
      // A last node without a sibling goes up as it is.
      while (!is_odd(node) && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, other);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return fail(Code::corrupt, "the inclusion proof has too few hashes");
  if (hash != root) {
    return fail(Code::corrupt, fmt::format("the inclusion proof of leaf {} leads to another root", index));
  }
  return {};
}

Result<void> verify_consistency(std::uint64_t old_size, const Hash& old_root, std::uint64_t size,
                                const Hash& root, std::span<const Hash> proof) {
  CITADEL_TRY(check_sizes(old_size, size));
  if (old_size == 0 || old_size == size) {
    if (!proof.empty()) return fail(Code::corrupt, "the consistency proof has hashes where none are needed");
    if (old_root != (old_size == 0 ? empty_root() : root)) {
      return fail(Code::corrupt, fmt::format("the roots of {} leaves differ", old_size));
    }
    return {};
  }
  // A complete old tree is itself the first hash, which the proof leaves out.
  const bool complete = std::has_single_bit(old_size);
  if (proof.empty()) return fail(Code::corrupt, "the consistency proof has too few hashes");
  const Hash first = complete ? old_root : proof.front();
  if (!complete) proof = proof.subspan(1);
  const int shared = std::countr_one(old_size - 1);
  std::uint64_t node = (old_size - 1) >> shared;
  std::uint64_t last = (size - 1) >> shared;
  Hash old_hash = first;
  Hash hash = first;
  for (const Hash& other : proof) {
    if (last == 0)
      return fail(Code::corrupt, "the consistency proof has more hashes than the tree has levels");
    if (is_odd(node) || node == last) {
      old_hash = node_hash(other, old_hash);
      hash = node_hash(other, hash);
      while (!is_odd(node) && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, other);
    }
    node >>= 1;
    last >>= 1;
  }
  if (last != 0) return fail(Code::corrupt, "the consistency proof has too few hashes");
  if (old_hash != old_root) {
    return fail(Code::corrupt,
                fmt::format("the consistency proof leads to another root of {} leaves", old_size));
  }
  if (hash != root) {
    return fail(Code::corrupt, fmt::format("the consistency proof leads to another root of {} leaves", size));
  }
  return {};
}

}  // namespace citadel::tlog
