#include "crypto/aes_gcm.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace citadel::crypto {
namespace {

struct Vector {
  std::string key, nonce, additional, plaintext, sealed;
};

// McGrew and Viega's GCM specification (test cases 13 to 16), which NIST SP 800-38D refers to, and one of
// NIST's CAVP file gcmEncryptExtIV256.rsp with additional data.
const std::vector<Vector> vectors = {
    {std::string(64, '0'), std::string(24, '0'), "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {std::string(64, '0'), std::string(24, '0'), "", std::string(32, '0'),
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
     "b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
     "c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
     "b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
    {"83688deb4af8007f9b713b47cfa6c73e35ea7a3aa4ecdb414dded03bf7a0fd3a", "0b459724904e010a46901cf3",
     "794a14ccd178c8ebfd1379dc704c5e208f9d8424", "33d893a2114ce06fc15d55e454cf90c3",
     "cc66bee423e3fcd4c0865715e95866960fb291bd3dba94a1dfd8b286cfb97ac5"},
};

AesGcmKey key_of(std::string_view hex) {
  const std::string bytes = *from_hex(hex);
  return AesGcmKey(as_bytes(bytes).first<AesGcmKey::size_bytes>());
}

GcmNonce nonce_of(std::string_view hex) {
  GcmNonce nonce;
  std::ranges::copy(as_bytes(*from_hex(hex)), nonce.begin());
  return nonce;
}

TEST(AesGcm, PublishedVectors) {
  for (const auto& vector : vectors) {
    const AesGcmKey key = key_of(vector.key);
    const GcmNonce nonce = nonce_of(vector.nonce);
    const std::string additional = *from_hex(vector.additional);
    const std::string plaintext = *from_hex(vector.plaintext);
    const std::string sealed = seal(key, nonce, as_bytes(additional), as_bytes(plaintext));
    EXPECT_EQ(to_hex(as_bytes(sealed)), vector.sealed);
    EXPECT_EQ(open(key, nonce, as_bytes(additional), as_bytes(sealed)).value(), plaintext);
  }
}

TEST(AesGcm, WhateverIsChangedIsRefused) {
  const AesGcmKey key = key_of(vectors[3].key);
  const std::string additional = "row 7";
  const std::string sealed = seal_random(key, as_bytes(additional), as_bytes("plaintext of some length"));
  ASSERT_EQ(open_random(key, as_bytes(additional), as_bytes(sealed)).value(), "plaintext of some length");
  for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    std::string other = sealed;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ 1 << (bit % 8));
    const auto opened = open_random(key, as_bytes(additional), as_bytes(other));
    ASSERT_FALSE(opened) << bit;
    EXPECT_EQ(opened.error().code, Code::corrupt);
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_FALSE(open_random(key, as_bytes(additional), as_bytes(sealed).first(size))) << size;
  }
  EXPECT_FALSE(open_random(key, as_bytes("row 8"), as_bytes(sealed)));
  EXPECT_FALSE(open_random(key, {}, as_bytes(sealed)));
  EXPECT_FALSE(open_random(AesGcmKey::generate(), as_bytes(additional), as_bytes(sealed)));
}

TEST(AesGcm, EachSealHasANonceOfItsOwn) {
  const AesGcmKey key = AesGcmKey::generate();
  std::set<std::string> nonces;
  for (int i = 0; i < 1'000; ++i) nonces.insert(seal_random(key, {}, {}).substr(0, gcm_nonce_bytes));
  EXPECT_EQ(nonces.size(), 1'000u);
}

TEST(AesGcm, AKeyThatWasMovedFromIsWiped) {
  AesGcmKey key = key_of(vectors[3].key);
  AesGcmKey moved = std::move(key);
  EXPECT_EQ(to_hex(key.bytes()), std::string(64, '0'));
  EXPECT_EQ(to_hex(moved.bytes()), vectors[3].key);
  key = std::move(moved);
  EXPECT_EQ(to_hex(moved.bytes()), std::string(64, '0'));
  EXPECT_EQ(to_hex(key.bytes()), vectors[3].key);
}

}  // namespace
}  // namespace citadel::crypto
