// The protocol between a log and its witnesses (C2SP tlog-witness, add-checkpoint), without the HTTP: bodies,
// what a witness answers, and what the log makes of an answer. Pure.
//
// The log's side:
//   body = encode_add_checkpoint({old_size, proof, checkpoint_file});   // POST <prefix>/add-checkpoint
//   read_add_checkpoint_answer(status, content_type, body, note, keys)
//     → Cosigned: add its signatures to the note
//     → WitnessIsAt: make the proof from that size, ask again
//
// The witness's side is Witness, which decides from what it has stored; the caller stores and answers.
// Functions and const members may be called from any thread.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "tlog/checkpoint.hpp"
#include "tlog/merkle.hpp"
#include "tlog/note.hpp"

namespace citadel::tlog {

inline constexpr std::size_t witness_proof_hashes_max = 63;
inline constexpr std::string_view witness_size_content_type = "text/x.tlog.size";
// The longest body that the form allows; a server reads no more.
inline constexpr std::size_t add_checkpoint_bytes_max = note_bytes_max + 4'096;

struct AddCheckpointRequest {
  std::uint64_t old_size = 0;
  std::vector<Hash> proof;  // at most witness_proof_hashes_max
  std::string checkpoint;   // the file of the signed note, as it is
  friend bool operator==(const AddCheckpointRequest&, const AddCheckpointRequest&) = default;
};

// CHECK: within witness_proof_hashes_max.
std::string encode_add_checkpoint(const AddCheckpointRequest& request);
// The form alone, invalid_argument else; the checkpoint is not looked at.
Result<AddCheckpointRequest> parse_add_checkpoint(std::string_view body);

struct Cosigned {
  std::vector<NoteSignature> signatures;  // of known witness keys, verified; at least one
};
struct WitnessIsAt {
  std::uint64_t size = 0;  // of the latest checkpoint that it cosigned
};
// `keys` are those of this witness, and `checkpoint_text` what it was asked to sign. Other answers are
// errors: 400 invalid_argument, 403 permission_denied, 404 not_found, 422 conflict (it holds our proof to be
// wrong: a fork, or a bug), 429 and 5xx unavailable, where a retry is safe; corrupt for an answer without
// sense.
Result<std::variant<Cosigned, WitnessIsAt>> read_add_checkpoint_answer(int status,
                                                                       std::string_view content_type,
                                                                       std::string_view body,
                                                                       std::string_view checkpoint_text,
                                                                       std::span<const NoteVerifier> keys);

// A log that a witness knows.
struct WitnessedLog {
  std::string origin;
  std::vector<NoteVerifier> keys;
};

// The latest checkpoint of a log that a witness cosigned; the empty tree where there was none.
struct WitnessedHead {
  std::uint64_t size = 0;
  Hash root = empty_root();
  friend bool operator==(const WitnessedHead&, const WitnessedHead&) = default;
};

struct WitnessAnswer {
  int status = 0;
  std::string content_type;
  std::string body;
  // With 200 only: what must be stored before the answer is sent, in one step with the reading of what was
  // stored; `file` is the checkpoint with our cosignature and the log's, for monitors.
  struct Store {
    std::string origin;
    WitnessedHead head;
    std::string file;
  };
  std::optional<Store> store;
};

class Witness {
 public:
  // What is stored for an origin.
  using Stored = std::function<WitnessedHead(std::string_view origin)>;

  // CHECK: the signer's type is cosignature_v1.
  Witness(NoteSigner signer, std::vector<WitnessedLog> logs);

  WitnessAnswer add_checkpoint(std::string_view body, const Stored& stored,
                               std::chrono::sys_seconds now) const;
  const NoteVerifier& verifier() const { return signer_.verifier(); }

 private:
  NoteSigner signer_;
  std::vector<WitnessedLog> logs_;
};

}  // namespace citadel::tlog
