// EntryProofs: inclusion proofs of entries, one after the other, all under one signed checkpoint, from the
// daemon's tiles. What `citadel audit export --proofs` puts into each line.
//
//   CITADEL_ASSIGN(auto proofs, EntryProofs::open(context, checkpoint_note));
//   CITADEL_ASSIGN(const std::string proof, proofs->prove(index, leaf));  // a C2SP tlog-proof
//
// Entries are best taken in order: each tile is then fetched once. Memory does not grow with the log: at most
// `tile_bytes_max` of hashes. Has a connection of its own, so that it may be asked while another streams. Not
// thread-safe.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/api_client.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/tile_cache.hpp"

namespace citadel::cli {

class EntryProofs {
 public:
  static constexpr std::size_t tile_bytes_max = 1 << 20;

  // The checkpoint's signature is checked against the keys of choose_policy(); its errors, and those of
  // tlog::open_checkpoint().
  static Result<std::unique_ptr<EntryProofs>> open(const Context& context,
                                                   const std::string& checkpoint_note);
  EntryProofs(const EntryProofs&) = delete;

  // A proof with the leaf as its extra data, which was checked against the checkpoint's root. corrupt where
  // the daemon's tiles or the leaf are not of that tree; the errors of ApiClient::call().
  Result<std::string> prove(std::uint64_t index, std::string_view leaf);

 private:
  EntryProofs(ApiClient client, std::string note, tlog::Checkpoint checkpoint)
      : client_(std::move(client)), note_(std::move(note)), checkpoint_(std::move(checkpoint)) {}
  Result<std::string> tile(const tlog::TileId& id);

  ApiClient client_;
  std::string note_;
  tlog::Checkpoint checkpoint_;
  tlog::TileCache tiles_{tile_bytes_max};
  // Over the tiles of the entries of one tile of level 0, whose index is `row_`.
  std::optional<tlog::TileHashReader> reader_;
  std::uint64_t row_ = 0;
};

}  // namespace citadel::cli
