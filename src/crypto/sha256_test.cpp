#include "crypto/sha256.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace citadel::crypto {
namespace {

// FIPS 180-4 examples and the NIST CAVP files SHA256ShortMsg.rsp and SHA256LongMsg.rsp.
struct Vector {
  std::string message_hex;
  std::string digest_hex;
};

const std::vector<Vector> vectors = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"d3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
    {"11af", "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"},
    {"616263", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e6c6d6e6f6d6e6f7"
     "06e6f"
     "7071",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

std::string hex(const Digest& digest) {
  return to_hex(digest);
}

TEST(Sha256, NistVectorsInOnePiece) {
  for (const auto& vector : vectors) {
    EXPECT_EQ(hex(sha256(as_bytes(*from_hex(vector.message_hex)))), vector.digest_hex) << vector.message_hex;
  }
}

TEST(Sha256, NistVectorsByteByByte) {
  for (const auto& vector : vectors) {
    const std::string message = *from_hex(vector.message_hex);
    Sha256 hash;
    for (const char& byte : message) hash.update(as_bytes({&byte, 1}));
    EXPECT_EQ(hex(hash.finish()), vector.digest_hex) << vector.message_hex;
  }
}

TEST(Sha256, PiecesAreOneMessage) {
  EXPECT_EQ(hex(sha256_of_pieces({})), vectors[0].digest_hex);
  EXPECT_EQ(hex(sha256_of_pieces({as_bytes("a"), {}, as_bytes("bc")})), vectors[3].digest_hex);
}

TEST(Sha256, AMillionTimesA) {
  EXPECT_EQ(hex(sha256(as_bytes(std::string(1'000'000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, AFinishedObjectBeginsAnew) {
  Sha256 hash;
  hash.update(as_bytes("something else"));
  (void)hash.finish();
  EXPECT_EQ(hex(hash.update(as_bytes("abc")).finish()), vectors[3].digest_hex);
}

TEST(Sha256, ManyThreadsAtOnce) {
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([] {
      for (int i = 0; i < 2'000; ++i) EXPECT_EQ(hex(sha256(as_bytes("abc"))), vectors[3].digest_hex);
    });
  }
}

}  // namespace
}  // namespace citadel::crypto
