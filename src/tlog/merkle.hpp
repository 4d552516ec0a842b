// The Merkle tree of a transparency log: hashes, the right edge of a growing tree, proofs and their check.
// Pure. Hashes and proofs are those of RFC 6962 section 2.1; the checks follow the algorithms of RFC 9162
// sections 2.1.3.2 and 2.1.4.2.
//
//   CompactRange range;
//   range.append(leaf_hash(entry));
//   range.root();
//
//   CITADEL_ASSIGN(const auto proof, prove_inclusion(reader, index, size));
//   verify_inclusion(leaf_hash(entry), index, size, proof, root);
//
// Trees have at most tree_size_max leaves, so that sizes fit PostgreSQL's bigint. Errors: invalid_argument
// for an index or a size that does not exist, corrupt for a proof that does not prove; the sentence says
// which. Functions may be called from any thread; one object belongs to one thread at a time.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "crypto/sha256.hpp"

namespace citadel::tlog {

using Hash = crypto::Digest;
inline constexpr std::size_t hash_bytes = crypto::digest_bytes;
inline constexpr std::uint64_t tree_size_max = std::numeric_limits<std::int64_t>::max();

Hash leaf_hash(Bytes entry);                           // SHA-256(0x00 || entry)
Hash node_hash(const Hash& left, const Hash& right);   // SHA-256(0x01 || left || right)
Hash empty_root();                                     // SHA-256(""), the root of the empty tree
Result<Hash> hash_from(Bytes bytes);                   // exactly 32 bytes, else corrupt
Result<Hash> hash_from_base64(std::string_view text);  // their base64, else corrupt

// The leaves [index << level, (index + 1) << level): a complete subtree of 2^level leaves.
struct Subtree {
  std::uint8_t level = 0;
  std::uint64_t index = 0;
  friend auto operator<=>(const Subtree&, const Subtree&) = default;
};

// The complete subtrees whose hashes stand for a tree, largest first: one for each bit of its size. It is all
// that is needed to go on appending, and to know the root. At most 63 hashes.
class CompactRange {
 public:
  CompactRange() = default;
  // Fails with corrupt where the count of hashes is not that of the size's bits.
  static Result<CompactRange> from(std::uint64_t size, std::vector<Hash> hashes);

  // CHECK: the tree stays within tree_size_max.
  void append(const Hash& leaf);
  std::uint64_t size() const { return size_; }
  Hash root() const;
  const std::vector<Hash>& hashes() const { return hashes_; }

  // The size as a big-endian u64, then the hashes.
  std::string encode() const;
  static Result<CompactRange> decode(Bytes bytes);

  friend bool operator==(const CompactRange&, const CompactRange&) = default;

 private:
  std::uint64_t size_ = 0;
  std::vector<Hash> hashes_;
};

// Where the hashes of a stored tree come from. Implemented over tiles by TileHashReader (tlog/tiles.hpp).
class HashReader {
 public:
  virtual ~HashReader() = default;
  // The hash of a complete subtree that lies wholly inside the tree. Errors pass through to the caller.
  virtual Result<Hash> read_hash(Subtree subtree) = 0;
};

// What the functions below read, so that a caller can fetch it first. Empty for an index or a size that does
// not exist.
std::vector<Subtree> subtrees_for_root(std::uint64_t size);
std::vector<Subtree> subtrees_for_inclusion(std::uint64_t index, std::uint64_t size);
std::vector<Subtree> subtrees_for_consistency(std::uint64_t old_size, std::uint64_t size);

// The root of the first `size` leaves; empty_root() for 0.
Result<Hash> read_root(HashReader& reader, std::uint64_t size);
// index < size ≤ tree_size_max.
Result<std::vector<Hash>> prove_inclusion(HashReader& reader, std::uint64_t index, std::uint64_t size);
// old_size ≤ size ≤ tree_size_max; empty where old_size is 0 or size.
Result<std::vector<Hash>> prove_consistency(HashReader& reader, std::uint64_t old_size, std::uint64_t size);
// Neither proof has been checked against a root that is known: a reader over stored hashes may have been
// lied to. Check before a proof is handed out.

Result<void> verify_inclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size,
                              std::span<const Hash> proof, const Hash& root);
// Old size 0 needs an empty proof and empty_root() as the old root; equal sizes need an empty proof and equal
// roots.
Result<void> verify_consistency(std::uint64_t old_size, const Hash& old_root, std::uint64_t size,
                                const Hash& root, std::span<const Hash> proof);

}  // namespace citadel::tlog
