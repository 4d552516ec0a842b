// A log in memory for tests and benchmarks: entries as an export has them, checkpoints signed by its key and
// by a witness. Everything is a plain value, so that a test forges it as it likes.
#pragma once
#include <string>
#include <vector>

#include "audit/audit_testing.hpp"
#include "audit/record_codec.hpp"
#include "audit/verifier.hpp"
#include "tlog/cosignature.hpp"

namespace citadel::audit {

struct LoggedGroup {
  Group group = Group::details;
  OpenedGroup content;
};
struct LoggedEntry {
  Leaf place;
  std::string leaf;
  Salt salt{};
  std::string envelope;
  std::vector<LoggedGroup> groups;
  std::optional<tlog::Hash> tree_hash;

  // Commits to what envelope and groups are now, as somebody does who can write every byte.
  void commit_again() {
    place.commitments.front().digest = commit(Group::envelope, salt, as_bytes(envelope));
    for (std::size_t i = 0; i < groups.size(); ++i) {
      place.commitments[i + 1].digest =
          commit(groups[i].group, groups[i].content.salt, as_bytes(groups[i].content.bytes));
    }
    leaf = encode_leaf(place);
  }
};
using Log = std::vector<LoggedEntry>;

class TestingLog {
 public:
  void append(const Event& event, const Uuid& producer, std::uint64_t epoch, std::uint64_t sequence) {
    const Record record = seal_event(event, find_action(event.action).value(), key_);
    LoggedEntry entry{.place = record.leaf(producer, epoch, sequence, event.time),
                      .leaf = {},
                      .salt = record.envelope_salt,
                      .envelope = record.envelope,
                      .groups = {},
                      .tree_hash = {}};
    for (const SealedGroup& sealed : record.groups) {
      entry.groups.push_back(
          {sealed.group,
           open_group(event.id, sealed.group, sealed.ciphertext, record.wrapped_key, key_).value()});
    }
    entry.leaf = encode_leaf(entry.place);
    entries.push_back(std::move(entry));
  }

  // `count` events of two producers by turns, the second one of two epochs.
  static TestingLog of(std::size_t count) {
    TestingLog log;
    std::uint64_t first = 0, second = 0, epoch = 1;
    for (std::size_t i = 0; i < count; ++i) {
      if (i == count / 2) {
        ++epoch;
        second = 0;
      }
      const Event event = i % 5 == 0 ? full_event(i + 1) : minimal_event(i + 1);
      i % 3 == 0 ? log.append(event, producer_a, 1, ++first) : log.append(event, producer_b, epoch, ++second);
    }
    return log;
  }

  static std::string note_of(const Log& log, std::size_t size, const tlog::NoteSigner& signer) {
    tlog::CompactRange tree;
    for (std::size_t i = 0; i < size; ++i) tree.append(tlog::leaf_hash(as_bytes(log[i].leaf)));
    return note_of({.origin = std::string(origin), .size = size, .root = tree.root(), .extensions = {}},
                   signer);
  }
  static std::string note_of(const tlog::Checkpoint& checkpoint, const tlog::NoteSigner& signer) {
    return tlog::encode_note(tlog::sign_note(checkpoint.encode(), signer).value());
  }
  std::string note() const { return note_of(entries, entries.size(), signer); }
  std::string note(std::size_t size) const { return note_of(entries, size, signer); }
  std::string witnessed_note() const {
    auto note = tlog::parse_note(this->note()).value();
    const auto checkpoint = tlog::Checkpoint::parse(note.text).value();
    note.signatures.push_back(
        tlog::cosign(witness, checkpoint, std::chrono::sys_seconds{std::chrono::seconds(1)}));
    return tlog::encode_note(note);
  }
  // Trusts the log's key alone.
  tlog::LogPolicy policy() const {
    return {
        .origin = std::string(origin), .log_keys = {signer.verifier()}, .witnesses = {}, .witnesses_min = 0};
  }

  static constexpr std::string_view origin = "example.com/audit";
  static inline const Uuid producer_a = testing_id(0xA), producer_b = testing_id(0xB);
  Log entries;
  tlog::NoteSigner signer = tlog::NoteSigner::generate(origin).value();
  tlog::NoteSigner witness =
      tlog::NoteSigner::generate("witness.example", tlog::KeyType::cosignature_v1).value();

 private:
  crypto::AesGcmKey key_ = crypto::AesGcmKey::generate();
};

// An entry as the verifier takes it; views into `entry`, and `groups` is where its groups lie.
inline ExportedEntry exported(const LoggedEntry& entry, std::uint64_t index,
                              std::vector<ExportedGroup>& groups) {
  groups.clear();
  for (const auto& [group, content] : entry.groups) groups.push_back({group, {content.salt, content.bytes}});
  return {.index = index,
          .leaf = entry.leaf,
          .tree_hash = entry.tree_hash,
          .envelope = ExportedContent{entry.salt, entry.envelope},
          .groups = groups};
}

inline Result<void> feed_all(Verifier& verifier, const Log& log) {
  std::vector<ExportedGroup> groups;
  for (const LoggedEntry& entry : log)
    CITADEL_TRY(verifier.feed(exported(entry, verifier.next_index(), groups)));
  return {};
}

}  // namespace citadel::audit
