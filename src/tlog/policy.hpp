// WitnessPolicy: a log's witnesses, where they are, and which of them together make a quorum: a file in the
// form of C2SP tlog-policy. Pure.
//
//   witness w1 witness.example/w1+1c5d…+BGfp… http://127.0.0.1:8490
//   witness w2 witness.example/w2+77aa…+BJ3x… http://127.0.0.1:8491
//   group both 2 w1 w2        # or any, or all; of witnesses and of groups above
//   quorum both               # or a witness, or none
//
// Lines `log VKEY [URL]` are read and given; they are for those who verify. What is not supported is
// ML-DSA-44 keys. Errors: invalid_argument, with the line's number. Functions may be called from any thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "tlog/note.hpp"

namespace citadel::tlog {

struct PolicyWitness {
  std::string name;  // in the policy; the key has another, which is in signatures
  NoteVerifier key;  // of type cosignature_v1
  std::string url;   // the submission prefix; "" where none is given
};

class WitnessPolicy {
 public:
  static constexpr std::size_t witnesses_max = 32;  // with the log's own, within note_signatures_max
  static constexpr std::size_t groups_max = 32;

  static Result<WitnessPolicy> parse(std::string_view text);

  const std::vector<NoteVerifier>& logs() const { return logs_; }
  const std::vector<PolicyWitness>& witnesses() const { return witnesses_; }
  // The name behind `quorum`; "none" where no cosignature is asked for.
  const std::string& quorum() const { return quorum_; }

  // By their places in witnesses(). CHECK: as many as there are witnesses.
  bool quorum_met(const std::vector<bool>& cosigned) const;

 private:
  // A witness has no members; a group has met when `threshold` members have.
  struct Node {
    std::string name;
    std::size_t witness = 0;  // its place, where there are no members
    std::size_t threshold = 1;
    std::vector<std::size_t> members;  // places of nodes above
    bool is_member = false;
  };
  using Words = std::vector<std::string_view>;

  Result<void> take(const Words& words);
  Result<void> take_log(const Words& words);
  Result<void> take_witness(const Words& words);
  Result<void> take_group(const Words& words);
  Result<void> take_quorum(const Words& words);
  Result<void> check_new(std::string_view name) const;
  Result<std::size_t> find(std::string_view name) const;

  std::vector<NoteVerifier> logs_;
  std::vector<PolicyWitness> witnesses_;
  std::vector<Node> nodes_;
  std::string quorum_;  // "" before its line
  std::size_t quorum_node_ = 0;
};

}  // namespace citadel::tlog
