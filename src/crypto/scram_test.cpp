#include "crypto/scram.hpp"

#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "crypto/hmac.hpp"

namespace citadel::crypto {
namespace {

const Secret pencil("pencil");

std::string part(const std::string& verifier, char before, char after) {
  const auto start = verifier.rfind(before) + 1;
  return from_base64(verifier.substr(start, verifier.find(after, start) - start)).value();
}

// RFC 7677 section 3, the whole exchange: the verifier's keys take the client's proof and give the server's
// signature.
TEST(Scram, TheExchangeOfRfc7677) {
  const auto salt = from_base64("W22ZaJ0SNY7soEsUEjb6gQ==").value();
  const auto verifier = scram_verifier(pencil, as_bytes(salt), 4096);
  EXPECT_TRUE(verifier.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")) << verifier;
  const std::string message =
      "n=user,r=rOprNGfwEbeRWgbNEkqO,"
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  const auto server_key = part(verifier, ':', '\0');
  EXPECT_EQ(to_base64(hmac_sha256(as_bytes(server_key), as_bytes(message))),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  const auto stored_key = part(verifier, '$', ':');
  auto client_key = from_base64("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").value();  // the proof
  const auto signature = hmac_sha256(as_bytes(stored_key), as_bytes(message));
  for (std::size_t at = 0; at < client_key.size(); ++at) {
    client_key[at] = static_cast<char>(client_key[at] ^ static_cast<char>(signature[at]));
  }
  EXPECT_EQ(as_text(sha256(as_bytes(client_key))), stored_key);
}

TEST(Scram, EachPartOfTheInputCounts) {
  const auto plain = scram_verifier(pencil, as_bytes("salt"), 1);
  EXPECT_EQ(scram_verifier(pencil, as_bytes("salt"), 1), plain);
  const auto keys = [](const std::string& verifier) { return verifier.substr(verifier.rfind('$')); };
  EXPECT_NE(keys(scram_verifier(pencil, as_bytes("salt"), 2)), keys(plain));
  EXPECT_NE(keys(scram_verifier(pencil, as_bytes("sale"), 1)), keys(plain));
  EXPECT_NE(keys(scram_verifier(Secret("pencils"), as_bytes("salt"), 1)), keys(plain));
}

TEST(ScramDeathTest, WhatIsNoVerifierIsABug) {
  EXPECT_DEATH(scram_verifier(Secret("K\xc3\xa4se"), as_bytes("salt"), 1), "SASLprep");
  EXPECT_DEATH(scram_verifier(pencil, as_bytes("salt"), 0), "iteration");
  EXPECT_DEATH(scram_verifier(pencil, {}, 1), "salt");
}

}  // namespace
}  // namespace citadel::crypto
