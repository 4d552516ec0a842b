// Witnesses: asks a log's witnesses to cosign a checkpoint (C2SP tlog-witness), all that are due at once.
//
// A witness that did not cosign is left alone for a while that doubles, with jitter, up to backoff.ceiling,
// whatever the reason; the checkpoint goes without it. What it has seen of the log is asked of the witness
// itself: it answers an old size that is another with its own, and then gets the proof from there.
//
// How a request is sent is the caller's (`AskWitness`), and so is the proof. On one executor; one cosign() at
// a time.
#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "aio/task.hpp"
#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "base/random.hpp"
#include "resilience/backoff.hpp"
#include "tlog/policy.hpp"
#include "tlog/witness.hpp"

namespace citadel::audit {

struct WitnessReply {
  int status = 0;
  std::string content_type, body;
};
// Sends the body to add-checkpoint of the witness at this place in the policy.
using AskWitness =
    std::function<Task<Result<WitnessReply>>(std::size_t place, std::string body, Deadline deadline)>;
// That the checkpoint extends the first `old_size` entries, more than none and fewer than it has.
using ProveGrowth =
    std::function<Task<Result<std::vector<tlog::Hash>>>(std::uint64_t old_size, Deadline deadline)>;

struct WitnessOptions {
  std::chrono::milliseconds timeout{2'000};  // all that one cosign() waits
  resilience::BackoffOptions backoff{.initial = std::chrono::seconds(1), .ceiling = std::chrono::minutes(5)};
};

enum class WitnessState : std::uint8_t {
  unasked,
  cosigned,      // the last checkpoint that it was asked for
  away,          // no answer, or none with sense
  refused,       // it does not know the log, or its key
  ahead,         // it has cosigned more of the log than we have: another daemon, or a log that lost its tail
  inconsistent,  // it holds the log to contradict what it has cosigned before
};
std::string_view to_string(WitnessState state);

struct WitnessStatus {
  std::string name;  // in the policy
  WitnessState state = WitnessState::unasked;
  std::optional<Error> last_error;  // empty while it cosigns
  std::uint64_t size = 0;           // of the largest checkpoint that it cosigned for us
  std::optional<WallTime> cosigned_at;
  std::uint64_t cosigned_total = 0, failures_total = 0;
};

struct WitnessesStatus {
  std::vector<WitnessStatus> witnesses;
  std::string quorum;  // its name in the policy
};

class Witnesses {
 public:
  // `clock` outlives it.
  Witnesses(tlog::WitnessPolicy policy, AskWitness ask, WitnessOptions options, std::uint64_t seed,
            const Clock& clock);
  Witnesses(const Witnesses&) = delete;  // backoffs hold our `random_`

  // The note with the cosignatures that were given; as it was where none was. `note` is ours and verified.
  Task<std::string> cosign(std::string note, const tlog::Checkpoint& checkpoint, ProveGrowth prove,
                           Deadline deadline);
  // How many witnesses have cosigned the note, and whether they are a quorum. Signatures that do not verify
  // do not count.
  std::size_t count_cosigned(std::string_view note) const;
  bool quorum_met(std::string_view note) const;
  WitnessesStatus status() const;

 private:
  struct One {
    explicit One(resilience::Backoff b) : backoff(std::move(b)) {}
    resilience::Backoff backoff;
    MonotonicTime due{};  // not asked before
    std::uint64_t known_size = 0;
    WitnessStatus status;
  };
  struct Round;

  std::vector<bool> cosigned_by(const tlog::Note& note) const;
  Task<> ask(std::size_t place, Round& round);
  Task<Result<std::vector<tlog::NoteSignature>>> converse(std::size_t place, const Round& round);
  void note_failure(One& one, WitnessState state, const Error& error);

  tlog::WitnessPolicy policy_;
  AskWitness ask_;
  WitnessOptions options_;
  SeededRandom random_;
  const Clock& clock_;
  std::vector<One> ones_;
};

}  // namespace citadel::audit
