#include "tlog/policy.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.hpp"
#include "tlog/text.hpp"

namespace citadel::tlog {
namespace {

constexpr std::string_view none = "none";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (;;) {
    const auto begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const auto end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

bool is_allowed(char c) {
  const auto octet = static_cast<unsigned char>(c);
  return octet == '\t' || (octet >= 0x20 && octet != 0x7F);
}

std::unexpected<Error> bad(std::string what) {
  return fail(Code::invalid_argument, std::move(what));
}

}  // namespace

Result<WitnessPolicy> WitnessPolicy::parse(std::string_view text) {
  WitnessPolicy policy;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto line = take_line(text);
    if (!line) return bad(fmt::format("line {}: it does not end with a newline", number));
    if (!std::ranges::all_of(*line, is_allowed))
      return bad(fmt::format("line {}: a control character", number));
    const auto words = words_of(*line);
    if (words.empty() || words.front().starts_with('#')) continue;
    if (auto taken = policy.take(words); !taken)
      return bad(fmt::format("line {}: {}", number, taken.error().message));
  }
  if (policy.quorum_.empty()) return bad("there is no line `quorum NAME`, or `quorum none`");
  return policy;
}

Result<void> WitnessPolicy::take(const Words& words) {
  if (words[0] == "log") return take_log(words);
  if (words[0] == "witness") return take_witness(words);
  if (words[0] == "group") return take_group(words);
  if (words[0] == "quorum") return take_quorum(words);
  return bad(fmt::format("'{}' is not one of log, witness, group, quorum", words[0]));
}

Result<void> WitnessPolicy::take_log(const Words& words) {
  if (words.size() < 2 || words.size() > 3) return bad("a log is `log VKEY [URL]`");
  CITADEL_ASSIGN(auto key, NoteVerifier::parse(words[1]));
  if (key.type() != KeyType::ed25519) return bad(fmt::format("the key of {} is not a log's", key.name()));
  if (std::ranges::find(logs_, key.key(), &NoteVerifier::key) != logs_.end())
    return bad("this key is another log's too");
  logs_.push_back(std::move(key));
  return {};
}

Result<void> WitnessPolicy::take_witness(const Words& words) {
  if (words.size() < 3 || words.size() > 4) return bad("a witness is `witness NAME VKEY [URL]`");
  CITADEL_TRY(check_new(words[1]));
  CITADEL_ASSIGN(auto key, NoteVerifier::parse(words[2]));
  if (key.type() != KeyType::cosignature_v1)
    return bad(fmt::format("the key of {} is not for cosignatures", words[1]));
  // One key under two names would count twice.
  const auto has_key = [&](const PolicyWitness& other) { return other.key.key() == key.key(); };
  if (std::ranges::any_of(witnesses_, has_key))
    return bad(fmt::format("the key of {} is another witness's too", words[1]));
  if (witnesses_.size() == witnesses_max) return bad(fmt::format("more than {} witnesses", witnesses_max));
  nodes_.push_back({.name = std::string(words[1]), .witness = witnesses_.size(), .members = {}});
  witnesses_.push_back(
      {std::string(words[1]), std::move(key), words.size() == 4 ? std::string(words[3]) : std::string()});
  return {};
}

Result<void> WitnessPolicy::take_group(const Words& words) {
  if (words.size() < 4) return bad("a group is `group NAME all|any|K MEMBER…`");
  CITADEL_TRY(check_new(words[1]));
  if (nodes_.size() - witnesses_.size() == groups_max)
    return bad(fmt::format("more than {} groups", groups_max));
  Node group{.name = std::string(words[1]), .members = {}};
  for (const auto member : std::span(words).subspan(3)) {
    CITADEL_ASSIGN(const auto place, find(member));
    if (std::exchange(nodes_[place].is_member, true))
      return bad(fmt::format("'{}' is a member of a group already", member));
    group.members.push_back(place);
  }
  const auto count = group.members.size();
  const auto threshold = words[2] == "any"   ? std::optional<std::uint64_t>(1)
                         : words[2] == "all" ? std::optional<std::uint64_t>(count)
                                             : parse_decimal(words[2]);
  if (!threshold || *threshold < 1 || *threshold > count)
    return bad(fmt::format("'{}' is not all, any, or a number from 1 to {}", words[2], count));
  group.threshold = *threshold;
  nodes_.push_back(std::move(group));
  return {};
}

Result<void> WitnessPolicy::take_quorum(const Words& words) {
  if (words.size() != 2) return bad("the quorum is `quorum NAME`, or `quorum none`");
  if (!quorum_.empty()) return bad("a second quorum");
  if (words[1] != none) {
    CITADEL_ASSIGN(quorum_node_, find(words[1]));
  }
  quorum_ = words[1];
  return {};
}

Result<void> WitnessPolicy::check_new(std::string_view name) const {
  if (name == none) return bad("'none' is no name that can be given");
  if (std::ranges::find(nodes_, name, &Node::name) != nodes_.end())
    return bad(fmt::format("'{}' is there already", name));
  return {};
}

Result<std::size_t> WitnessPolicy::find(std::string_view name) const {
  const auto at = std::ranges::find(nodes_, name, &Node::name);
  if (at == nodes_.end()) return bad(fmt::format("no witness and no group '{}' stands above", name));
  return static_cast<std::size_t>(at - nodes_.begin());
}

bool WitnessPolicy::quorum_met(const std::vector<bool>& cosigned) const {
  CITADEL_CHECK(cosigned.size() == witnesses_.size(), "each witness has cosigned or has not");
  if (quorum_ == none) return true;
  std::vector<bool> met;  // members stand above their group
  for (const Node& node : nodes_) {
    const auto count = std::ranges::count_if(node.members, [&](std::size_t i) { return met[i]; });
    met.push_back(node.members.empty() ? cosigned[node.witness]
                                       : static_cast<std::size_t>(count) >= node.threshold);
  }
  return met[quorum_node_];
}

}  // namespace citadel::tlog
