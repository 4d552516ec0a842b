#include "audit/content_account.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "json/parse.hpp"

namespace citadel::audit {
namespace {

// So that sets of as many indexes have another sum (the finalizer of SplitMix64).
std::uint64_t mixed(std::uint64_t index) {
  std::uint64_t z = index + 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31U);
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Range {
  std::uint64_t first = 0, last = 0;
};
// "3-5" or "9"
std::optional<Range> parse_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return Range{*first, *last};
}

std::unexpected<Error> not_ours() {
  return fail(Code::corrupt, "it is an erasure, and does not say of which entries");
}

}  // namespace

void ContentAccount::missing(std::uint64_t index, const ContentMonth& month) {
  auto& [missing, erased, first, last] = months_[month];
  if (missing.count == 0) first = index;
  last = index;
  ++missing.count;
  missing.sum += mixed(index);
}

Result<void> ContentAccount::erased(std::uint64_t index, std::string_view details) {
  auto parsed = json::parse(details, {.depth_max = 8, .size_bytes_max = 64 << 10});
  if (!parsed || !parsed->is_object()) return not_ours();
  const auto* entries = parsed->get_object().if_contains("entries");
  if (entries == nullptr) {  // as migration 5 wrote it
    erasure_unread();
    return {};
  }
  if (!entries->is_array()) return not_ours();
  for (const auto& item : entries->get_array()) {
    const auto* named = item.if_array();
    if (named == nullptr || named->size() != 3 || !(*named)[0].is_int64() || !(*named)[1].is_string() ||
        !(*named)[2].is_string())
      return not_ours();
    const auto retention = (*named)[0].get_int64();
    if (retention < 1 || retention > 3) return not_ours();
    const auto month = parse_content_month(fmt::format("{}/{}", to_string(static_cast<Retention>(retention)),
                                                       std::string_view((*named)[1].get_string())));
    if (!month) return not_ours();
    Set& set = months_[*month].erased;
    for (std::string_view rest = (*named)[2].get_string(); !rest.empty();) {
      const auto text = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(rest.size(), text.size() + 1));
      const auto range = parse_range(text);
      if (!range || range->last >= index) return not_ours();
      for (auto at = range->first; at <= range->last; ++at) {
        ++set.count;
        set.sum += mixed(at);
      }
    }
  }
  return {};
}

void ContentAccount::pruned(const ContentMonth& month) {
  // An event that came later is in a table of its own, and not explained by this.
  if (const auto found = months_.find(month); found != months_.end()) {
    const auto& [missing, erased, first, last] = found->second;
    const auto known = std::min(erased.count, missing.count);
    erased_ += known;
    pruned_ += missing.count - known;
    months_.erase(found);
  }
  held_.erase(month);
  if (month.retention == Retention::extended)
    runs_gone_until_ = std::max(runs_gone_until_.value_or(month.month), month.month);
}

ContentAccount::Sums ContentAccount::sums() const {
  Sums out{.erased = erased_, .pruned = pruned_, .erasures_unread = unread_};
  for (const auto& [name, month] : months_) {
    const bool run_may_be_gone = runs_gone_until_ && name.month <= *runs_gone_until_ && !held_.contains(name);
    const auto known = std::min(month.erased.count, month.missing.count);
    if (run_may_be_gone) {
      out.erased += known;
      out.pruned += month.missing.count - known;
    } else if (month.missing == month.erased) {
      out.erased += known;
    } else {
      // Which of them it is cannot be told from sums.
      out.erased += known;
      out.missing += std::max<std::uint64_t>(month.missing.count - known, 1);
      if (!out.month) {
        out.month = name;
        out.first = month.first;
        out.last = month.last;
      }
    }
  }
  return out;
}

}  // namespace citadel::audit
