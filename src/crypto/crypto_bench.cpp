#include <benchmark/benchmark.h>

#include "crypto/aes_gcm.hpp"
#include "crypto/ed25519.hpp"
#include "crypto/hmac.hpp"
#include "crypto/sha256.hpp"

namespace citadel::crypto {
namespace {

void sha256_of_one_piece(benchmark::State& state) {
  const std::string message(static_cast<std::size_t>(state.range(0)), 'm');
  for (auto _ : state) benchmark::DoNotOptimize(sha256(as_bytes(message)));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sha256_of_one_piece)->Arg(0)->Arg(65)->Arg(200)->Arg(4'096)->Arg(65'536);

// What the Merkle tree hashes: a prefix, and an entry or two hashes.
void sha256_behind_a_prefix(benchmark::State& state) {
  const std::string message(static_cast<std::size_t>(state.range(0)), 'm');
  for (auto _ : state) {
    benchmark::DoNotOptimize(sha256_of_pieces({as_bytes(std::string_view("\0", 1)), as_bytes(message)}));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sha256_behind_a_prefix)->Arg(64)->Arg(200);

void hmac(benchmark::State& state) {
  const std::string key(32, 'k');
  const std::string message(static_cast<std::size_t>(state.range(0)), 'm');
  for (auto _ : state) benchmark::DoNotOptimize(hmac_sha256(as_bytes(key), as_bytes(message)));
}
BENCHMARK(hmac)->Arg(64)->Arg(4'096);

void ed25519_sign(benchmark::State& state) {
  const PrivateKey key = PrivateKey::generate();
  const std::string message(200, 'm');
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(as_bytes(message)));
}
BENCHMARK(ed25519_sign);

void ed25519_verify(benchmark::State& state) {
  const PrivateKey key = PrivateKey::generate();
  const std::string message(200, 'm');
  const Signature signature = key.sign(as_bytes(message));
  for (auto _ : state) benchmark::DoNotOptimize(verify(key.public_key(), as_bytes(message), signature));
}
BENCHMARK(ed25519_verify);

void aes_gcm_seal_and_open(benchmark::State& state) {
  const AesGcmKey key = AesGcmKey::generate();
  const std::string message(static_cast<std::size_t>(state.range(0)), 'm');
  for (auto _ : state) {
    benchmark::DoNotOptimize(open_random(key, {}, as_bytes(seal_random(key, {}, as_bytes(message)))));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(aes_gcm_seal_and_open)->Arg(64)->Arg(4'096)->Arg(65'536);

}  // namespace
}  // namespace citadel::crypto
