#include "audit/export_format.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <charconv>

#include "base/base64.hpp"
#include "base/quote.hpp"
#include "json/object_reader.hpp"
#include "json/parse.hpp"
#include "json/writer.hpp"

namespace citadel::audit {
namespace {

constexpr std::size_t text_bytes_max = 2'000;
constexpr json::ParseLimits line_limits{.depth_max = 4, .size_bytes_max = export_line_bytes_max};

std::unexpected<Error> malformed(std::string_view what) {
  return fail(Code::corrupt, std::string(what));
}

void append_base64(std::string& out, std::string_view before, std::string_view bytes) {
  out += before;
  out += to_base64(as_bytes(bytes));
  out += '"';
}

// Takes what it expects from the front of a line; whatever is otherwise makes the whole bad.
class Scanner {
 public:
  // `salt` is a buffer that is used again and again.
  Scanner(std::string_view line, std::string& salt) : rest_(line), salt_(salt) {}

  bool starts_with(std::string_view text) const { return rest_.starts_with(text); }
  bool take(std::string_view text) {
    if (!starts_with(text)) return good_ = false;
    rest_.remove_prefix(text.size());
    return true;
  }
  bool take_if(std::string_view text) { return starts_with(text) && take(text); }
  std::uint64_t number() {
    std::uint64_t value = 0;
    const auto read = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    const auto digits = static_cast<std::size_t>(read.ptr - rest_.data());
    if (read.ec != std::errc{} || (digits > 1 && rest_[0] == '0')) good_ = false;
    rest_.remove_prefix(digits);
    return value;
  }
  // Up to the quote that ends it.
  std::string_view quoted() {
    const std::size_t end = std::min(rest_.find('"'), rest_.size());
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end);
    take("\"");
    return text;
  }
  // A JSON string, as append_quoted() writes one, behind its first quote. Not empty.
  void text(std::string& out) {
    std::size_t end = 0;
    while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
    end = std::min(end, rest_.size());
    const auto value = json::parse(fmt::format("\"{}\"", rest_.substr(0, end)), line_limits);
    rest_.remove_prefix(end);
    take("\"");
    const auto* text = value ? value->if_string() : nullptr;
    if (text == nullptr || text->empty()) {
      good_ = false;
    } else {
      out.assign(text->data(), text->size());
    }
  }
  void base64(std::string& out) {
    if (!from_base64(quoted(), out)) good_ = false;
  }
  void salt(Salt& out) {
    base64(salt_);
    if (salt_.size() == out.size()) {
      std::memcpy(out.data(), salt_.data(), out.size());
    } else {
      good_ = false;
    }
  }
  // All but the last byte, which must be the brace that closes the line.
  std::string_view up_to_brace() {
    if (!rest_.ends_with('}')) good_ = false;
    const std::string_view text = rest_.substr(0, rest_.size() - (rest_.empty() ? 0 : 1));
    rest_.remove_prefix(text.size());
    return text;
  }
  bool good() const { return good_; }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  std::string& salt_;
  bool good_ = true;
};

std::optional<Group> parse_group(std::string_view name) {
  for (const Group group : sensitive_groups) {
    if (name == to_string(group)) return group;
  }
  return std::nullopt;
}

}  // namespace

void append_export_header(std::string& out, const ExportHeader& header) {
  json::Writer line;
  line.begin_object().key("format").text(export_format_name).key("origin").text(header.origin);
  line.key("first").integer(static_cast<std::int64_t>(header.before.size()));
  line.key("size").integer(static_cast<std::int64_t>(header.size));
  if (header.before.size() > 0) line.key("before").text(to_base64(as_bytes(header.before.encode())));
  out += line.end_object().take();
  out += '\n';
}

Result<void> append_export_entry(std::string& out, const ExportedEntry& entry) {
  std::string line = fmt::format(R"({{"index":{})", entry.index);
  append_base64(line, R"(,"leaf":")", entry.leaf);
  if (entry.tree_hash) append_base64(line, R"(,"hash":")", as_text(*entry.tree_hash));
  if (!entry.proof.empty()) {
    line += R"(,"proof":)";
    append_quoted(line, entry.proof);
  }
  if (entry.envelope) {
    append_base64(line, R"(,"salt":")", as_text(entry.envelope->salt));
    append_base64(line, R"(,"envelope":")", entry.envelope->bytes);
  }
  for (std::size_t i = 0; i < entry.groups.size(); ++i) {
    const auto& [group, content] = entry.groups[i];
    line += i == 0 ? R"(,"groups":[)" : ",";
    line += fmt::format(R"({{"group":"{}")", to_string(group));
    append_base64(line, R"(,"salt":")", as_text(content.salt));
    append_base64(line, R"(,"bytes":")", content.bytes);
    line += i + 1 == entry.groups.size() ? "}]" : "}";
  }
  if (entry.envelope) {
    CITADEL_ASSIGN(const auto shown, show(entry));
    line += R"(,"event":)" + shown;
  }
  line += "}\n";
  if (line.size() > export_line_bytes_max)
    return malformed("an entry is longer than a line of an export may be");
  out += line;
  return {};
}

void append_export_checkpoint(std::string& out, std::string_view checkpoint_note) {
  out += R"({"checkpoint":)";
  append_quoted(out, checkpoint_note);
  out += "}\n";
}

Result<void> ExportReader::feed(std::string_view piece) {
  if (error_) return std::unexpected(*error_);
  auto done = take(piece);
  if (!done) error_ = done.error();
  return done;
}

Result<void> ExportReader::take(std::string_view piece) {
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    if (partial_.size() + part.size() > export_line_bytes_max) {
      return fail(Code::corrupt,
                  fmt::format("line {} is longer than {} bytes", line_ + 1, export_line_bytes_max));
    }
    if (end == std::string_view::npos) {
      partial_ += part;
      return {};
    }
    piece.remove_prefix(end + 1);
    if (partial_.empty()) {
      CITADEL_TRY(read_line(part));
    } else {
      partial_ += part;
      CITADEL_TRY(read_line(std::exchange(partial_, {})));
    }
  }
  return {};
}

Result<void> ExportReader::read_line(std::string_view line) {
  ++line_;
  Result<void> done;
  switch (expected_) {
    case Expected::header:
      done = read_header(line);
      break;
    case Expected::entry:
      // From here an entry's own errors name the entry.
      return read_entry(line);
    case Expected::checkpoint:
      done = read_checkpoint(line);
      break;
    case Expected::end:
      done = malformed("something follows the checkpoint");
      break;
  }
  if (!done) done.error().message = fmt::format("line {}: {}", line_, done.error().message);
  return done;
}

Result<void> ExportReader::read_header(std::string_view line) {
  auto value = json::parse(line, line_limits);
  if (!value || !value->is_object()) return malformed("not the header of an export");
  json::ObjectReader in(value->get_object());
  ExportHeader header;
  if (in.text("format", {}) != export_format_name)
    return malformed("not an export of format citadel-audit-export/1");
  header.origin = in.text("origin", {.bytes_max = text_bytes_max});
  constexpr auto size_max = static_cast<std::int64_t>(tlog::tree_size_max);
  const auto first = static_cast<std::uint64_t>(in.integer("first", 0, size_max));
  header.size = static_cast<std::uint64_t>(in.integer("size", 0, size_max));
  const auto before = in.optional_text("before", {.bytes_max = text_bytes_max});
  if (auto finished = in.finish(); !finished) return malformed(finished.error().message);
  if (before) {
    const auto raw = from_base64(*before);
    if (!raw) return malformed("/before: must be base64");
    CITADEL_ASSIGN(header.before, tlog::CompactRange::decode(as_bytes(*raw)));
  }
  if (header.before.size() != first) return malformed("/before: is not the tree before /first");
  if (header.size < first) return malformed("/size: is less than /first");
  next_index_ = first;
  size_ = header.size;
  expected_ = next_index_ == size_ ? Expected::checkpoint : Expected::entry;
  return handler_.on_header(header);
}

Result<void> ExportReader::read_entry(std::string_view line) {
  const auto bad = [&](std::string_view what) {
    return fail(Code::corrupt, fmt::format("line {}, entry {}: {}", line_, next_index_, what));
  };
  Scanner in(line, salt_);
  ExportedEntry entry;
  in.take(R"({"index":)");
  entry.index = in.number();
  in.take(R"(,"leaf":")");
  in.base64(leaf_);
  if (in.take_if(R"(,"hash":")")) in.salt(entry.tree_hash.emplace());
  if (in.take_if(R"(,"proof":")")) {
    in.text(proof_);
    entry.proof = proof_;
  }
  if (in.take_if(R"(,"salt":")")) {
    in.salt(entry.envelope.emplace().salt);
    in.take(R"(,"envelope":")");
    in.base64(envelope_);
  }
  groups_.clear();
  group_bytes_.resize(sensitive_groups.size());
  for (bool more = in.take_if(R"(,"groups":[{"group":")"); more && in.good();
       more = in.take_if(R"(,{"group":")")) {
    const auto group = parse_group(in.quoted());
    if (!group || groups_.size() == group_bytes_.size()) return bad("has groups that are not known");
    ExportedGroup& opened = groups_.emplace_back(*group);
    in.take(R"(,"salt":")");
    in.salt(opened.content.salt);
    in.take(R"(,"bytes":")");
    in.base64(group_bytes_[groups_.size() - 1]);
    opened.content.bytes = group_bytes_[groups_.size() - 1];
    in.take("}");
  }
  if (!groups_.empty()) in.take("]");
  entry.leaf = leaf_;
  entry.groups = groups_;
  if (entry.envelope) {
    entry.envelope->bytes = envelope_;
    in.take(R"(,"event":)");
    entry.shown = in.up_to_brace();
  }
  in.take("}");
  if (!in.good() || !in.at_end()) return bad("is not as an export writes it");
  CITADEL_TRY(handler_.on_entry(entry));
  if (++next_index_ == size_) expected_ = Expected::checkpoint;
  return {};
}

Result<void> ExportReader::read_checkpoint(std::string_view line) {
  auto value = json::parse(line, line_limits);
  const auto* object = value ? value->if_object() : nullptr;
  const auto* note = object != nullptr && object->size() == 1 ? object->if_contains("checkpoint") : nullptr;
  if (note == nullptr || !note->is_string()) return malformed("not the checkpoint of an export");
  checkpoint_ = note->get_string();
  expected_ = Expected::end;
  return {};
}

Result<std::string> ExportReader::finish() {
  if (error_) return std::unexpected(*error_);
  if (!partial_.empty())
    return fail(Code::corrupt, fmt::format("line {} has no end: the export was cut off", line_ + 1));
  if (expected_ != Expected::end) {
    return fail(Code::corrupt, fmt::format("the export was cut off after line {}, before entry {} of {}",
                                           line_, next_index_, size_));
  }
  return checkpoint_;
}

}  // namespace citadel::audit
