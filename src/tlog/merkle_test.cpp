#include "tlog/merkle.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "tlog/test_tree.hpp"

namespace citadel::tlog {
namespace {

using testing::HasSubstr;

// The leaves, roots and paths of the reference tests of Certificate Transparency (RFC 6962).
const std::vector<std::string> ct_entries = {
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
const std::vector<std::string> ct_roots = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

std::vector<Hash> ct_leaves() {
  std::vector<Hash> leaves;
  for (const auto& hex : ct_entries) leaves.push_back(leaf_hash(as_bytes(*from_hex(hex))));
  return leaves;
}

std::vector<std::string> hex_of(const std::vector<Hash>& hashes) {
  std::vector<std::string> out;
  for (const Hash& hash : hashes) out.push_back(to_hex(hash));
  return out;
}

TEST(Merkle, RootsOfTheReferenceTree) {
  CompactRange range;
  EXPECT_EQ(to_hex(range.root()), ct_roots[0]);
  const auto leaves = ct_leaves();
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    range.append(leaves[i]);
    EXPECT_EQ(range.size(), i + 1);
    EXPECT_EQ(to_hex(range.root()), ct_roots[i + 1]);
  }
}

TEST(Merkle, InclusionPathsOfTheReferenceTree) {
  struct Path {
    std::uint64_t index, size;
    std::vector<std::string> hashes;
  };
  const auto leaves = ct_leaves();
  for (const Path& path :
       std::vector<Path>{{0, 1, {}},
                         {0, 2, {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"}},
                         {1, 2, {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"}},
                         {2, 3, {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
                         {1,
                          5,
                          {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                           "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                           "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
                         {0,
                          8,
                          {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                           "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                           "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
                         {5,
                          8,
                          {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                           "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                           "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}}}) {
    LeavesReader reader(leaves);
    const auto proof = prove_inclusion(reader, path.index, path.size).value();
    EXPECT_EQ(hex_of(proof), path.hashes) << path.index << " of " << path.size;
    EXPECT_TRUE(verify_inclusion(leaves[path.index], path.index, path.size, proof,
                                 hash_from_hex(ct_roots[path.size])));
  }
}

TEST(Merkle, ConsistencyPathsOfTheReferenceTree) {
  struct Path {
    std::uint64_t old_size, size;
    std::vector<std::string> hashes;
  };
  const auto leaves = ct_leaves();
  for (const Path& path :
       std::vector<Path>{{1, 1, {}},
                         {1,
                          8,
                          {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                           "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                           "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
                         {2,
                          5,
                          {"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                           "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
                         {6,
                          8,
                          {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                           "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                           "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}}}) {
    LeavesReader reader(leaves);
    const auto proof = prove_consistency(reader, path.old_size, path.size).value();
    EXPECT_EQ(hex_of(proof), path.hashes) << path.old_size << " to " << path.size;
    EXPECT_TRUE(verify_consistency(path.old_size, hash_from_hex(ct_roots[path.old_size]), path.size,
                                   hash_from_hex(ct_roots[path.size]), proof));
  }
}

constexpr std::size_t exhaustive = whole ? 300 : 40;  // past a full tree of 256, or of 32

TEST(Merkle, EveryLeafOfEveryTreeIsProven) {
  const auto leaves = test_leaves(exhaustive);
  for (std::size_t size = 1; size <= exhaustive; ++size) {
    const Hash root = reference_root(std::span(leaves).first(size));
    for (std::size_t index = 0; index < size; ++index) {
      LeavesReader reader(std::span(leaves).first(size));
      const auto proof = prove_inclusion(reader, index, size).value();
      ASSERT_EQ(reader.asked, subtrees_for_inclusion(index, size));
      ASSERT_TRUE(verify_inclusion(leaves[index], index, size, proof, root)) << index << " of " << size;
      // The neighbour's place and the neighbour's leaf are not proven by it.
      if (index > 0) {
        ASSERT_FALSE(verify_inclusion(leaves[index], index - 1, size, proof, root));
        ASSERT_FALSE(verify_inclusion(leaves[index - 1], index, size, proof, root));
      }
    }
  }
}

TEST(Merkle, EveryTreeIsConsistentWithEachItGrewFrom) {
  const auto leaves = test_leaves(exhaustive);
  std::vector<Hash> roots;
  for (std::size_t size = 0; size <= exhaustive; ++size) {
    roots.push_back(reference_root(std::span(leaves).first(size)));
  }
  for (std::size_t size = 0; size <= exhaustive; ++size) {
    for (std::size_t old_size = 0; old_size <= size; ++old_size) {
      LeavesReader reader(std::span(leaves).first(size));
      const auto proof = prove_consistency(reader, old_size, size).value();
      ASSERT_EQ(reader.asked, subtrees_for_consistency(old_size, size));
      ASSERT_TRUE(verify_consistency(old_size, roots[old_size], size, roots[size], proof))
          << old_size << " " << size;
      if (old_size > 0 && old_size < size) {
        ASSERT_FALSE(verify_consistency(old_size, roots[old_size - 1], size, roots[size], proof));
        ASSERT_FALSE(verify_consistency(old_size, roots[old_size], size, roots[size - 1], proof));
        if (old_size > 1) {
          ASSERT_FALSE(verify_consistency(old_size - 1, roots[old_size - 1], size, roots[size], proof))
              << old_size << " " << size;
        }
      }
    }
  }
}

TEST(Merkle, RangeAgreesWithTheReferenceAtEverySize) {
  const auto leaves = test_leaves(whole ? 1'000 : 300);
  CompactRange range;
  for (std::size_t size = 0; size <= leaves.size(); ++size) {
    ASSERT_EQ(range.root(), reference_root(std::span(leaves).first(size))) << size;
    ASSERT_EQ(range.hashes().size(), static_cast<std::size_t>(std::popcount(size)));
    ASSERT_EQ(CompactRange::decode(as_bytes(range.encode())).value(), range);
    LeavesReader reader(std::span(leaves).first(size));
    ASSERT_EQ(read_root(reader, size).value(), range.root());
    ASSERT_EQ(reader.asked, subtrees_for_root(size));
    if (size < leaves.size()) range.append(leaves[size]);
  }
}

// Each bit of a proof, of the leaf and of the roots, flipped; hashes taken away and added.
TEST(Merkle, EachFlippedBitOfAProofIsRefused) {
  const auto leaves = test_leaves(77);
  const Hash root = reference_root(leaves);
  const Hash old_root = reference_root(std::span(leaves).first(45));
  LeavesReader reader(leaves);
  const auto inclusion = prove_inclusion(reader, 70, 77).value();
  const auto consistency = prove_consistency(reader, 45, 77).value();
  ASSERT_TRUE(verify_inclusion(leaves[70], 70, 77, inclusion, root));
  ASSERT_TRUE(verify_consistency(45, old_root, 77, root, consistency));
  for (std::size_t bit = 0; bit < 256; ++bit) {
    for (std::size_t at = 0; at < inclusion.size(); ++at) {
      auto changed = inclusion;
      flip_bit(changed[at], bit);
      ASSERT_EQ(code_of(verify_inclusion(leaves[70], 70, 77, changed, root)), Code::corrupt);
    }
    for (std::size_t at = 0; at < consistency.size(); ++at) {
      auto changed = consistency;
      flip_bit(changed[at], bit);
      ASSERT_EQ(code_of(verify_consistency(45, old_root, 77, root, changed)), Code::corrupt);
    }
    Hash other = root;
    flip_bit(other, bit);
    ASSERT_FALSE(verify_inclusion(leaves[70], 70, 77, inclusion, other));
    ASSERT_FALSE(verify_consistency(45, old_root, 77, other, consistency));
    other = old_root;
    flip_bit(other, bit);
    ASSERT_FALSE(verify_consistency(45, other, 77, root, consistency));
    other = leaves[70];
    flip_bit(other, bit);
    ASSERT_FALSE(verify_inclusion(other, 70, 77, inclusion, root));
  }
}

TEST(Merkle, AProofOfAnotherLengthIsRefusedAndTheErrorSaysSo) {
  const auto leaves = test_leaves(13);
  const Hash root = reference_root(leaves);
  LeavesReader reader(leaves);
  for (std::uint64_t index = 0; index < 13; ++index) {
    auto proof = prove_inclusion(reader, index, 13).value();
    proof.push_back(leaves[0]);
    EXPECT_THAT(verify_inclusion(leaves[index], index, 13, proof, root).error().message,
                HasSubstr("more hashes"));
    proof.resize(proof.size() - 2);
    EXPECT_THAT(verify_inclusion(leaves[index], index, 13, proof, root).error().message,
                HasSubstr("too few"));
  }
  for (std::uint64_t old_size = 1; old_size < 13; ++old_size) {
    const Hash old_root = reference_root(std::span(leaves).first(old_size));
    auto proof = prove_consistency(reader, old_size, 13).value();
    proof.push_back(leaves[0]);
    EXPECT_THAT(verify_consistency(old_size, old_root, 13, root, proof).error().message,
                HasSubstr("more hashes"));
    proof.resize(proof.size() - 2);
    EXPECT_THAT(verify_consistency(old_size, old_root, 13, root, proof).error().message,
                HasSubstr("too few"));
    EXPECT_EQ(code_of(verify_consistency(old_size, old_root, 13, root, {})), Code::corrupt);
  }
}

TEST(Merkle, WhereNoHashesAreNeededTheRootsDecide) {
  const auto leaves = test_leaves(5);
  const Hash root = reference_root(leaves);
  EXPECT_TRUE(verify_consistency(0, empty_root(), 5, root, {}));
  EXPECT_TRUE(verify_consistency(5, root, 5, root, {}));
  EXPECT_TRUE(verify_consistency(0, empty_root(), 0, empty_root(), {}));
  EXPECT_EQ(code_of(verify_consistency(0, root, 5, root, {})), Code::corrupt);
  EXPECT_EQ(code_of(verify_consistency(5, empty_root(), 5, root, {})), Code::corrupt);
  EXPECT_EQ(code_of(verify_consistency(0, empty_root(), 5, root, leaves)), Code::corrupt);
  EXPECT_EQ(code_of(verify_consistency(5, root, 5, root, leaves)), Code::corrupt);
}

TEST(Merkle, RefusesWhatDoesNotExist) {
  const auto leaves = test_leaves(4);
  LeavesReader reader(leaves);
  const Hash root = reference_root(leaves);
  EXPECT_EQ(code_of(prove_inclusion(reader, 4, 4)), Code::invalid_argument);
  EXPECT_EQ(code_of(prove_inclusion(reader, 0, 0)), Code::invalid_argument);
  EXPECT_EQ(code_of(prove_inclusion(reader, 0, tree_size_max + 1)), Code::invalid_argument);
  EXPECT_EQ(code_of(prove_consistency(reader, 5, 4)), Code::invalid_argument);
  EXPECT_EQ(code_of(prove_consistency(reader, 1, tree_size_max + 1)), Code::invalid_argument);
  EXPECT_EQ(code_of(read_root(reader, tree_size_max + 1)), Code::invalid_argument);
  EXPECT_EQ(code_of(verify_inclusion(leaves[0], 4, 4, {}, root)), Code::invalid_argument);
  EXPECT_EQ(code_of(verify_inclusion(leaves[0], 0, ~std::uint64_t{0}, {}, root)), Code::invalid_argument);
  EXPECT_EQ(code_of(verify_consistency(5, root, 4, root, {})), Code::invalid_argument);
  EXPECT_EQ(code_of(verify_consistency(1, root, ~std::uint64_t{0}, root, {})), Code::invalid_argument);
  EXPECT_TRUE(subtrees_for_inclusion(4, 4).empty());
  EXPECT_TRUE(subtrees_for_consistency(5, 4).empty());
  EXPECT_TRUE(subtrees_for_root(tree_size_max + 1).empty());
  EXPECT_TRUE(reader.asked.empty());
}

// Trees far larger than any memory: every hash is a function of its place, so that readers and checks meet at
// sizes where 32 bits, or signs, would break.
class ImaginaryTree final : public HashReader {
 public:
  // All leaves are equal, so a subtree's hash depends on its level alone.
  ImaginaryTree() {
    levels_.push_back(leaf_hash({}));
    while (levels_.size() < 64) levels_.push_back(node_hash(levels_.back(), levels_.back()));
  }
  Result<Hash> read_hash(Subtree subtree) override { return levels_[subtree.level]; }
  const Hash& leaf() const { return levels_[0]; }

 private:
  std::vector<Hash> levels_;
};

TEST(Merkle, HugeTreesProveAndVerify) {
  ImaginaryTree tree;
  SeededRandom random(20'260'101);
  for (int round = 0; round < (whole ? 2'000 : 200); ++round) {
    const std::uint64_t size = 1 + random.next() % (tree_size_max >> random.below(63));
    const std::uint64_t index = random.below(size);
    const Hash root = read_root(tree, size).value();
    const auto inclusion = prove_inclusion(tree, index, size).value();
    ASSERT_LE(inclusion.size(), 63u);
    ASSERT_TRUE(verify_inclusion(tree.leaf(), index, size, inclusion, root)) << index << " of " << size;
    const std::uint64_t old_size = 1 + random.below(size);
    const auto consistency = prove_consistency(tree, old_size, size).value();
    ASSERT_LE(consistency.size(), 64u);
    ASSERT_TRUE(verify_consistency(old_size, read_root(tree, old_size).value(), size, root, consistency))
        << old_size << " to " << size;
  }
  const Hash root = read_root(tree, tree_size_max).value();
  EXPECT_TRUE(verify_inclusion(tree.leaf(), tree_size_max - 1, tree_size_max,
                               prove_inclusion(tree, tree_size_max - 1, tree_size_max).value(), root));
}

TEST(Merkle, AReadersErrorReachesTheCaller) {
  struct Broken final : HashReader {
    Result<Hash> read_hash(Subtree) override { return fail(Code::unavailable, "away"); }
  } broken;
  EXPECT_EQ(code_of(prove_inclusion(broken, 1, 3)), Code::unavailable);
  EXPECT_EQ(code_of(prove_consistency(broken, 1, 3)), Code::unavailable);
  EXPECT_EQ(code_of(read_root(broken, 3)), Code::unavailable);
}

TEST(CompactRange, RefusesStatesThatNoTreeHas) {
  const auto leaves = test_leaves(3);
  EXPECT_TRUE(CompactRange::from(3, {leaves[0], leaves[1]}));
  EXPECT_EQ(code_of(CompactRange::from(3, {leaves[0]})), Code::corrupt);
  EXPECT_EQ(code_of(CompactRange::from(0, {leaves[0]})), Code::corrupt);
  EXPECT_EQ(code_of(CompactRange::from(tree_size_max + 1, {leaves[0]})), Code::corrupt);
  const std::string state = CompactRange::from(3, {leaves[0], leaves[1]}).value().encode();
  for (std::size_t size = 0; size < state.size(); ++size) {
    EXPECT_EQ(code_of(CompactRange::decode(as_bytes(state).first(size))), Code::corrupt) << size;
  }
  EXPECT_EQ(code_of(CompactRange::decode(as_bytes(state + "x"))), Code::corrupt);
}

TEST(Merkle, HashesFromTextAreStrict) {
  const Hash hash = empty_root();
  EXPECT_EQ(hash_from_base64(to_base64(hash)).value(), hash);
  EXPECT_EQ(code_of(hash_from_base64(to_base64(Bytes(hash).first(31)))), Code::corrupt);
  EXPECT_EQ(code_of(hash_from_base64(to_base64(hash) + "\n")), Code::corrupt);
  EXPECT_EQ(code_of(hash_from_base64("")), Code::corrupt);
}

}  // namespace
}  // namespace citadel::tlog
