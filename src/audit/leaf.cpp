#include "audit/leaf.hpp"

#include "audit/cbor_fields.hpp"

namespace citadel::audit {
namespace {

constexpr std::uint64_t version_1 = 1;
constexpr std::size_t fields = 9;
constexpr std::string_view commitment_label = "citadel/group/v1";
constexpr std::uint64_t group_max = static_cast<std::uint64_t>(Group::details);

// A number from `first` to `last` as an enumerator.
template <class Enum>
Enum read_enum(cbor::Reader& in, Enum first, Enum last) {
  const std::uint64_t number = in.number();
  if (number < static_cast<std::uint64_t>(first) || number > static_cast<std::uint64_t>(last)) {
    in.fail("a class, a retention class or a group is not known");
    return first;
  }
  return static_cast<Enum>(number);
}

void read_commitments(cbor::Reader& in, std::vector<Commitment>& commitments) {
  const std::size_t count = in.array();
  if (count == 0 || count > group_max + 1) in.fail("it has no commitments, or more than there are groups");
  for (std::size_t i = 0; i < count && in.good(); ++i) {
    if (in.array() != 2) in.fail("a commitment is not a pair");
    const Group group = read_enum(in, Group::envelope, Group::details);
    if (i == 0 ? group != Group::envelope : group <= commitments.back().group) {
      in.fail("the groups are not in order, or the envelope is missing");
    }
    commitments.push_back({group, in.fixed<crypto::digest_bytes>()});
  }
}

}  // namespace

crypto::Digest commit(Group group, const Salt& salt, Bytes bytes) {
  const auto number = static_cast<std::byte>(group);
  return crypto::sha256_of_pieces({as_bytes(commitment_label), {&number, 1}, salt, bytes});
}

std::string encode_leaf(const Leaf& leaf) {
  cbor::Writer out(80 + leaf.commitments.size() * 37);
  out.array(fields).number(version_1).bytes(bytes_of(leaf.id)).bytes(bytes_of(leaf.producer));
  out.number(leaf.epoch).number(leaf.sequence).number(static_cast<std::uint64_t>(leaf.action_class));
  out.integer(leaf.time.time_since_epoch().count()).number(static_cast<std::uint64_t>(leaf.retention));
  out.array(leaf.commitments.size());
  for (const auto& [group, digest] : leaf.commitments) {
    out.array(2).number(static_cast<std::uint64_t>(group)).bytes(digest);
  }
  return out.take();
}

Result<Leaf> decode_leaf(Bytes bytes) {
  cbor::Reader in(bytes);
  Leaf leaf;
  if (in.array() != fields) in.fail("it has another count of fields");
  if (in.number() != version_1) in.fail("it is of another version");
  leaf.id = read_uuid(in);
  leaf.producer = read_uuid(in);
  leaf.epoch = in.number();
  leaf.sequence = in.number();
  if (leaf.epoch == 0 || leaf.sequence == 0) in.fail("its epoch or sequence is 0");
  leaf.action_class = read_enum(in, ActionClass::identity, ActionClass::operation);
  leaf.time = read_time(in);
  leaf.retention = read_enum(in, Retention::short_, Retention::extended);
  read_commitments(in, leaf.commitments);
  if (auto finished = in.finish(); !finished) {
    finished.error().message = "the leaf is " + finished.error().message;
    return std::unexpected(std::move(finished).error());
  }
  return leaf;
}

}  // namespace citadel::audit
