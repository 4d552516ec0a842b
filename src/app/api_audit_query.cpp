#include "app/api_audit_query.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "app/api_query.hpp"
#include "audit/catalogue.hpp"
#include "crypto/sha256.hpp"
#include "http/text.hpp"
#include "json/parse.hpp"
#include "tlog/text.hpp"

namespace citadel::app {
namespace {

constexpr std::size_t idempotency_key_bytes_max = 255;
constexpr std::string_view idempotency_key = "Idempotency-Key";

std::unexpected<Error> bad(std::string_view name, std::string_view must) {
  return fail(Code::invalid_argument, fmt::format("{}: {}", name, must));
}

Result<std::optional<std::string>> read_name(const http::Request& request, std::string_view name) {
  const auto text = request.query(name);
  if (!text) return std::optional<std::string>();
  const auto bytes_max = audit::EventLimits::widest().name_bytes_max;
  if (text->empty() || text->size() > bytes_max)
    return bad(name, fmt::format("must have 1 to {} bytes", bytes_max));
  return std::optional(std::string(*text));
}

bool is_printable_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

// Whether the body's one event says its own id or time.
bool says(std::string_view body, std::string_view name) {
  const auto value = citadel::json::parse(body, {.depth_max = 64, .size_bytes_max = body.size() + 1});
  if (!value) return false;
  const auto* object = value->is_array() && !value->get_array().empty()
                           ? value->get_array().front().if_object()
                           : value->if_object();
  return object != nullptr && object->contains(name);
}

}  // namespace

std::string_view to_string(Ack ack) {
  switch (ack) {
    case Ack::journal:
      return "journal";
    case Ack::database:
      return "database";
    case Ack::checkpoint:
      return "checkpoint";
  }
  return "?";
}

Result<Ack> parse_ack(const http::Request& request) {
  const auto text = request.query("ack");
  for (const auto ack : {Ack::journal, Ack::database, Ack::checkpoint}) {
    if (text.value_or("journal") == to_string(ack)) return ack;
  }
  return bad("ack", "must be journal, database or checkpoint");
}

Result<void> apply_idempotency_key(const http::Request& request, std::span<audit::Event> events,
                                   std::string_view body, const audit::EventLimits& limits) {
  if (request.headers.count(idempotency_key) == 0) return {};
  if (request.headers.count(idempotency_key) > 1) return bad(idempotency_key, "stands more than once");
  std::string_view key = request.headers.get(idempotency_key);
  if (key.size() > 2 && key.starts_with('"') && key.ends_with('"')) key = key.substr(1, key.size() - 2);
  if (events.size() != 1)
    return bad(idempotency_key, "is for a body of one event; give each of several its own id");
  if (key.empty() || key.size() > idempotency_key_bytes_max || !is_printable_ascii(key)) {
    return bad(idempotency_key,
               fmt::format("must be 1 to {} printable ASCII characters", idempotency_key_bytes_max));
  }
  audit::Event& event = events.front();
  const bool has_time = says(body, "time");
  std::optional<Uuid> id = parse_uuid(key);
  if (!id || !id->is_version7()) {
    if (!has_time)
      return bad(idempotency_key, "must be a UUID of version 7 where the event has no time of its own");
    const auto hash =
        crypto::sha256(as_bytes(fmt::format("citadel/idempotency/v1\n{}\n{}", event.tenant, key)));
    id = make_uuid7(std::chrono::floor<std::chrono::milliseconds>(event.time),
                    load_be<std::uint16_t>(hash.data()), load_be<std::uint64_t>(hash.data() + 2));
  }
  if (says(body, "id") && event.id != *id) return bad(idempotency_key, "contradicts the event's own id");
  event.id = *id;
  // A repeat then says the same.
  if (!has_time) event.time = event.id.time();
  if (!audit::check_event(event, limits))
    return bad(idempotency_key, "its time must lie within the limits of an event's time");
  return {};
}

Result<audit::SearchFilter> parse_search(const http::Request& request, std::int64_t page_rows_max) {
  CITADEL_TRY(
      request.allow_query({"from", "to", "tenant", "actor_type", "actor", "action", "object_type", "object",
                           "subject", "outcome", "trace_id", "request_id", "text", "cursor", "limit"}));
  audit::SearchFilter filter;
  CITADEL_ASSIGN(filter.from, read_time(request, "from"));
  CITADEL_ASSIGN(filter.to, read_time(request, "to"));
  CITADEL_ASSIGN(filter.tenant, read_name(request, "tenant"));
  CITADEL_ASSIGN(filter.actor_type, read_name(request, "actor_type"));
  CITADEL_ASSIGN(filter.actor, read_name(request, "actor"));
  CITADEL_ASSIGN(filter.action, parse_action(request));
  CITADEL_ASSIGN(filter.object_type, read_name(request, "object_type"));
  CITADEL_ASSIGN(filter.object, read_name(request, "object"));
  CITADEL_ASSIGN(filter.subject, read_name(request, "subject"));
  CITADEL_ASSIGN(filter.trace_id, read_name(request, "trace_id"));
  CITADEL_ASSIGN(filter.request_id, read_name(request, "request_id"));
  CITADEL_ASSIGN(filter.text, read_name(request, "text"));
  if (const auto outcome = request.query("outcome")) {
    filter.outcome = audit::parse_outcome(*outcome);
    if (!filter.outcome) return bad("outcome", "must be success, failure, denied or unknown");
  }
  // Taken for the first page, it would send a client that puts null in as "" round and round.
  if (request.query("cursor") == "") return bad("cursor", "is empty; leave it out for the first page");
  filter.cursor = request.query("cursor").value_or("");
  const auto limit_max =
      static_cast<std::uint64_t>(std::min<std::int64_t>(page_rows_max, audit::search_limit_max));
  CITADEL_ASSIGN(const auto limit, parse_number(request, "limit", std::min<std::uint64_t>(100, limit_max)));
  if (limit < 1 || limit > limit_max)
    return bad("limit", fmt::format("must be an integer from 1 to {}", limit_max));
  filter.limit = static_cast<int>(limit);
  return filter;
}

Result<std::optional<std::string>> parse_action(const http::Request& request) {
  CITADEL_ASSIGN(auto action, read_name(request, "action"));
  if (!action) return action;
  if (const auto known = audit::find_action(*action); !known) return bad("action", known.error().message);
  return action;
}

std::string recorded_query(const http::Request& request) {
  const auto at = request.target.find('?');
  if (at == std::string::npos) return "everything";
  std::string out;
  std::string_view rest = std::string_view(request.target).substr(at + 1);
  while (!rest.empty()) {
    const auto part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    if (!out.empty()) out += '&';
    // The name may be sent with escapes, too.
    std::vector<http::Parameter> decoded;
    const bool is_read = http::parse_query(part, 1, decoded).has_value();
    if (is_read && decoded.size() == 1 && decoded[0].name == "subject") {
      out += fmt::format("subject_sha256={}", to_hex(crypto::sha256(as_bytes(decoded[0].value))));
    } else {
      out += part;
    }
  }
  return out;
}

Result<bool> parse_check(const http::Request& request) {
  const auto check = request.query("check");
  if (!check) return false;
  if (*check == "columns") return true;
  return bad("check", "must be columns");
}

Result<audit::OpenGroups> parse_open(const http::Request& request) {
  const auto open = request.query("open");
  if (!open) return audit::OpenGroups::no;
  if (*open == "groups") return audit::OpenGroups::yes;
  return bad("open", "must be groups");
}

Result<std::uint64_t> parse_index(std::string_view text, std::string_view name) {
  const auto number = tlog::parse_decimal(text);
  if (!number) return bad(name, "must be a whole number of 0 or more");
  return *number;
}

Result<std::uint64_t> parse_number(const http::Request& request, std::string_view name,
                                   std::uint64_t otherwise) {
  const auto text = request.query(name);
  return text ? parse_index(*text, name) : Result<std::uint64_t>(otherwise);
}

}  // namespace citadel::app
