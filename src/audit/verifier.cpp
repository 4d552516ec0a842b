#include "audit/verifier.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "audit/event_json.hpp"
#include "audit/record_codec.hpp"
#include "base/check.hpp"
#include "json/writer.hpp"

namespace citadel::audit {
namespace {

// What most events have without their groups.
constexpr std::size_t shown_bytes_hint = 1'024;

const Commitment* commitment_of(const Leaf& leaf, Group group) {
  const auto at = std::ranges::find(leaf.commitments, group, &Commitment::group);
  return at == leaf.commitments.end() ? nullptr : &*at;
}

bool matches(const Commitment& commitment, const ExportedContent& content) {
  return commit(commitment.group, content.salt, as_bytes(content.bytes)) == commitment.digest;
}

// What people read of an event and the groups that were opened.
Result<std::string> show_event(Event& event, std::span<const ExportedGroup> groups) {
  for (const auto& [group, content] : groups) {
    if (content.bytes.find_first_of("\r\n") != std::string_view::npos)
      return fail(Code::corrupt, "a group is not one line");
    event.group(group) = content.bytes;
  }
  json::Writer out(shown_bytes_hint);
  write_event(out, event);
  return out.take();
}

bool are_in_order(std::span<const ExportedGroup> groups) {
  Group before = Group::envelope;
  for (const ExportedGroup& opened : groups) {
    if (opened.group <= before || opened.group > Group::details) return false;
    before = opened.group;
  }
  return true;
}

std::string place_of(std::uint64_t first, std::uint64_t end) {
  if (first == end) return "the log: ";
  if (first + 1 == end) return fmt::format("entry {}: ", first);
  return fmt::format("entries {} to {}: ", first, end - 1);
}

}  // namespace

Result<std::string> show(const ExportedEntry& entry) {
  CITADEL_CHECK(entry.envelope.has_value(), "an entry without an envelope is shown");
  CITADEL_ASSIGN(Event event, decode_envelope(as_bytes(entry.envelope->bytes)));
  if (!are_in_order(entry.groups)) return fail(Code::corrupt, "the groups are not in their order");
  return show_event(event, entry.groups);
}

Verifier::Verifier(VerifierOptions options)
    : options_(std::move(options)),
      agreed_size_(options_.before.size()),
      tree_(options_.before),
      sequences_(options_.limits,
                 options_.before.size() == 0 ? Sequences::Start::first_entry : Sequences::Start::pruned) {}

Result<Verifier> Verifier::make(VerifierOptions options) {
  Verifier verifier(std::move(options));
  if (!verifier.options_.older_checkpoint) return verifier;
  tlog::LogPolicy policy = verifier.options_.policy;
  policy.witnesses_min = 0;
  auto older = tlog::open_checkpoint(*verifier.options_.older_checkpoint, policy);
  if (!older) return std::unexpected(std::move(older).error().in("open the older checkpoint"));
  verifier.older_ = std::move(older->checkpoint);
  if (verifier.older_->size < verifier.tree_.size()) {
    return fail(Code::invalid_argument,
                fmt::format("the older checkpoint has {} entries, but the first {} were pruned",
                            verifier.older_->size, verifier.tree_.size()));
  }
  CITADEL_TRY(verifier.check_older());
  return verifier;
}

std::unexpected<Error> Verifier::fault(Code code, std::uint64_t first, std::uint64_t end, std::string what) {
  error_ = Error(code, place_of(first, end) + what);
  finding_ = Finding{first, end, std::move(what)};
  return std::unexpected(*error_);
}

std::unexpected<Error> Verifier::entry_fault(std::string what) {
  return fault(Code::corrupt, tree_.size(), tree_.size() + 1, std::move(what));
}

std::unexpected<Error> Verifier::sequence_fault(const Sequences::Fault& found) {
  return fault(Code::corrupt, found.index, found.index + 1, found.what);
}

// Of the entries that no trusted root covers yet, one at least was changed. A hole says where.
std::unexpected<Error> Verifier::root_fault(std::uint64_t end, std::string what) {
  if (auto hole = sequences_.first_hole()) {
    return fault(Code::corrupt, hole->index, hole->index + 1, hole->what + "; and " + what);
  }
  return fault(Code::corrupt, agreed_size_, end, std::move(what));
}

Result<void> Verifier::feed(const ExportedEntry& entry) {
  if (error_) return std::unexpected(*error_);
  return check_entry(entry);
}

Result<void> Verifier::check_entry(const ExportedEntry& entry) {
  if (entry.index != tree_.size()) {
    return entry_fault(fmt::format("should be next, but the log goes on with {}", entry.index));
  }
  auto leaf = decode_leaf(as_bytes(entry.leaf));
  if (!leaf) return entry_fault(leaf.error().message);
  const tlog::Hash hash = tlog::leaf_hash(as_bytes(entry.leaf));
  if (entry.tree_hash && *entry.tree_hash != hash) {
    return entry_fault("the leaf is not the one that the tree holds here: it was edited, moved or put in");
  }
  CITADEL_TRY(check_place(*leaf));
  CITADEL_TRY(check_groups(entry, *leaf));
  CITADEL_TRY(check_envelope(entry, *leaf));
  tree_.append(hash);
  ++counts_.entries;
  if (!counts_.first_time) counts_.first_time = leaf->time;
  counts_.last_time = leaf->time;
  return check_older();
}

Result<void> Verifier::check_place(const Leaf& leaf) {
  if (const auto found = sequences_.next(tree_.size(), leaf.producer, leaf.epoch, leaf.sequence)) {
    return sequence_fault(*found);
  }
  return {};
}

Result<void> Verifier::check_envelope(const ExportedEntry& entry, const Leaf& leaf) {
  if (!entry.envelope) {
    if (entry.shown) return entry_fault("people read of it what no envelope says");
    ++counts_.envelopes_missing;
    contents_.missing(tree_.size(), content_month(leaf.retention, leaf.time));
    return {};
  }
  if (!matches(leaf.commitments.front(), *entry.envelope)) {
    return entry_fault("its envelope or the salt is not what the leaf commits to: the content was edited");
  }
  auto event = decode_envelope(as_bytes(entry.envelope->bytes));
  if (!event) return entry_fault(event.error().message);
  if (event->id != leaf.id || event->time != leaf.time)
    return entry_fault("its envelope is of another event than its leaf");
  ++counts_.envelopes;
  if (leaf.action_class == ActionClass::audit) {
    CITADEL_TRY(check_journal(*event, leaf));
    CITADEL_TRY(check_lifecycle(entry, *event));
  }
  return entry.shown ? check_shown(entry, *event) : Result<void>{};
}

Result<void> Verifier::check_shown(const ExportedEntry& entry, Event& event) {
  const auto shown = show_event(event, entry.groups);
  if (!shown) return entry_fault(shown.error().message);
  if (*shown != *entry.shown)
    return entry_fault("what people read does not say what the signed envelope says: it was edited");
  return {};
}

// What the trail says of its producers' journals. Only entries of the class that callers cannot write are
// believed.
Result<void> Verifier::check_journal(const Event& event, const Leaf& leaf) {
  if (event.action == gap_action) {
    const auto range =
        event.object.type == journal_range_type ? parse_journal_range(event.object.id) : std::nullopt;
    if (!range) return entry_fault("it is a gap entry, and does not say of what");
    counts_.sequences_excused += sequences_.excuse(*range);
  } else if (event.action == started_action) {
    const auto position =
        event.object.type == journal_position_type ? parse_journal_position(event.object.id) : std::nullopt;
    if (!position) return entry_fault("it is a start, and does not say what was the last position before");
    if (const auto found = sequences_.last_before(tree_.size(), leaf.producer, *position))
      return sequence_fault(*found);
  }
  return {};
}

// What the trail says of contents that are not there any more.
Result<void> Verifier::check_lifecycle(const ExportedEntry& entry, const Event& event) {
  const bool dropped = event.object.type == content_type, held = event.object.type == content_held_type;
  if (event.action == retention_run_action && (dropped || held)) {
    const auto month = parse_content_month(event.object.id);
    if (!month) return entry_fault("it is a retention run, and does not say of which month");
    if (dropped) contents_.pruned(*month);
    if (held) contents_.held(*month);
  } else if (event.action == erasure_action) {
    const auto details = std::ranges::find(entry.groups, Group::details, &ExportedGroup::group);
    if (details == entry.groups.end()) {
      contents_.erasure_unread();
    } else if (const auto read = contents_.erased(entry.index, details->content.bytes); !read) {
      return entry_fault(read.error().message);
    }
  }
  return {};
}

Result<void> Verifier::check_groups(const ExportedEntry& entry, const Leaf& leaf) {
  std::uint64_t checked = 0;
  if (!are_in_order(entry.groups)) return entry_fault("its groups are not in their order");
  for (const auto& [group, content] : entry.groups) {
    const Commitment* commitment = commitment_of(leaf, group);
    if (commitment == nullptr)
      return entry_fault(fmt::format("it has a {} that the leaf does not", to_string(group)));
    if (!matches(*commitment, content)) {
      return entry_fault(fmt::format(
          "its {} or the salt is not what the leaf commits to: the content was edited", to_string(group)));
    }
    ++checked;
  }
  counts_.groups += checked;
  counts_.groups_missing += leaf.commitments.size() - 1 - checked;
  return {};
}

Result<void> Verifier::check_older() {
  if (!older_ || older_->size != tree_.size()) return {};
  if (older_->root != tree_.root()) {
    return root_fault(tree_.size(),
                      fmt::format("the first {} entries are not those of the older checkpoint: the log was "
                                  "rewritten",
                                  tree_.size()));
  }
  agreed_size_ = tree_.size();
  return {};
}

Result<void> Verifier::check_end(const tlog::Checkpoint& checkpoint) {
  const std::uint64_t size = tree_.size();
  if (older_ && checkpoint.size < older_->size) {
    return fault(Code::corrupt, size, size,
                 fmt::format("it was rolled back: the checkpoint has {} entries, the older one {}",
                             checkpoint.size, older_->size));
  }
  if (checkpoint.size > size) {
    return fault(Code::corrupt, size, size,
                 fmt::format("it was cut off: it ends after {} entries, and the checkpoint has {}", size,
                             checkpoint.size));
  }
  if (checkpoint.size < size) {
    return fault(Code::corrupt, checkpoint.size, size,
                 fmt::format("the checkpoint ends before, after {}", checkpoint.size));
  }
  if (checkpoint.root != tree_.root())
    return root_fault(size, "the root is not that of the checkpoint: an entry was changed");
  if (const auto hole = sequences_.first_hole()) return sequence_fault(*hole);
  return {};
}

Result<tlog::VerifiedCheckpoint> Verifier::finish(std::string_view checkpoint_note) {
  if (error_) return std::unexpected(*error_);
  auto opened = tlog::open_checkpoint(checkpoint_note, options_.policy);
  if (!opened) {
    // What the entries themselves show comes first: it has a place.
    if (const auto hole = sequences_.first_hole()) return sequence_fault(*hole);
    return fault(opened.error().code, tree_.size(), tree_.size(),
                 "its checkpoint: " + opened.error().message);
  }
  if (const auto hole = sequences_.first_hole(); hole && opened->checkpoint.size != tree_.size()) {
    return sequence_fault(*hole);
  }
  CITADEL_TRY(check_end(opened->checkpoint));
  return opened;
}

VerifierCounts Verifier::counts() const {
  VerifierCounts counts = counts_;
  counts.by_producer = sequences_.entries_by_producer();
  counts.contents = contents_.sums();
  return counts;
}

}  // namespace citadel::audit
