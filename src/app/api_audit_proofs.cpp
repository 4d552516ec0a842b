// Proofs that an entry is in the log, and that the log has only grown.
#include <fmt/format.h>

#include "app/api_audit.hpp"
#include "app/api_audit_query.hpp"
#include "app/audit_answers.hpp"
#include "base/base64.hpp"
#include "json/writer.hpp"
#include "tlog/proof.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

// How long a proof waits for a checkpoint over an entry that is in the log already.
constexpr auto publish_time = std::chrono::seconds(5);

struct Proved {
  std::uint64_t index = 0;
  audit::InclusionProof proof;
  audit::StoredCheckpoint checkpoint;
};

// On the data plane.
Task<Result<Proved>> prove(ApiContextPtr context, std::optional<Uuid> id, std::uint64_t index,
                           Deadline deadline) {
  auto& database = context->database;
  auto& publisher = context->audit->publisher();
  Proved out;
  out.index = index;
  if (id) {
    CITADEL_CO_ASSIGN(const auto found, co_await audit::find_indexes(database, {*id}, deadline));
    if (found.empty()) co_return fail(Code::not_found, "the audit log has no entry with this id");
    out.index = found.front().second;
  }
  const auto published = publisher.status().published;
  if (!published || out.index >= published->checkpoint.size) {
    CITADEL_CO_ASSIGN(const auto head, co_await audit::read_head(database, deadline));
    if (out.index >= head.size) {
      co_return fail(Code::not_found,
                     fmt::format("the audit log has {} entries, and none at {}", head.size, out.index));
    }
  }
  CITADEL_CO_ASSIGN(out.checkpoint,
                    co_await publisher.wait_published(out.index, deadline.within(publish_time)));
  CITADEL_CO_ASSIGN(out.proof, co_await audit::prove_inclusion(database, out.index, out.checkpoint.checkpoint,
                                                               deadline, &context->audit->tiles()));
  co_return out;
}

Response proof_file(const Proved& proved) {
  Response response = Response::text(200, tlog::LogProof{.extra = {},
                                                         .index = proved.index,
                                                         .inclusion = proved.proof.hashes,
                                                         .checkpoint = proved.checkpoint.note}
                                              .encode());
  response.headers.push_back(
      {"Content-Disposition", fmt::format("attachment; filename=\"entry-{}.tlog-proof\"", proved.index)});
  return response;
}

Response proof_json(const Proved& proved) {
  citadel::json::Writer out;
  out.begin_object().key("index").integer(static_cast<std::int64_t>(proved.index));
  out.key("size").integer(static_cast<std::int64_t>(proved.checkpoint.checkpoint.size));
  out.key("leaf").text(to_base64(as_bytes(proved.proof.leaf)));
  out.key("leaf_hash").text(to_base64(tlog::leaf_hash(as_bytes(proved.proof.leaf)))).key("inclusion");
  write_hashes(out, proved.proof.hashes);
  out.key("checkpoint").text(proved.checkpoint.note).end_object();
  return Response::json(200, out.take());
}

struct ProofQuery {
  std::optional<Uuid> id = {};
  std::uint64_t index = 0;
  bool as_file = false;
};

Result<ProofQuery> parse_proof_query(const Request& request) {
  CITADEL_TRY(request.allow_query({"index", "id", "format"}));
  ProofQuery out;
  if (request.query("index").has_value() == request.query("id").has_value()) {
    return fail(Code::invalid_argument, "index: give the entry's index, or the event's id");
  }
  CITADEL_ASSIGN(out.index, parse_number(request, "index", 0));
  if (const auto text = request.query("id")) {
    out.id = parse_uuid(*text);
    if (!out.id) return fail(Code::invalid_argument, "id: is not a UUID");
  }
  const auto format = request.query("format");
  if (format && *format != "json" && *format != "tlog-proof") {
    return fail(Code::invalid_argument, "format: must be json or tlog-proof");
  }
  out.as_file = format ? *format == "tlog-proof"
                       : http::equals_ignoring_case(request.headers.get("Accept"), "text/plain");
  return out;
}

// Holds nothing of what the event says; that it was asked for is noted, and nobody waits for that.
Task<Response> get_proof(ApiContextPtr context, Request& request) {
  const auto query = parse_proof_query(request);
  if (!query) co_return audit_problem(request, query.error());
  const auto proved =
      co_await on_data_plane(*context, prove(context, query->id, query->index, request.deadline));
  if (!proved) co_return audit_problem(request, proved.error());
  context->audit->note({.action = "audit.proved",
                        .object = {.type = "audit_entry", .id = std::to_string(proved->index)},
                        .actor = actor_of(request),
                        .request_id = request.request_id});
  co_return query->as_file ? proof_file(*proved) : proof_json(*proved);
}

// On the data plane: the root of the first `size` entries, proved to be what the signed checkpoint extends.
Task<Result<tlog::Checkpoint>> checkpoint_at(ApiContextPtr context, std::uint64_t size,
                                             tlog::Checkpoint latest, Deadline deadline) {
  if (size == latest.size) co_return latest;
  if (size > latest.size) {
    co_return fail(Code::invalid_argument, fmt::format("to: the signed log has {} entries", latest.size));
  }
  CITADEL_CO_TRY(co_await audit::prove_consistency(context->database, size, latest, deadline));
  CITADEL_CO_ASSIGN(auto tiles,
                    co_await audit::read_tiles(context->database, tlog::tiles_for_root(size), deadline));
  tlog::TileHashReader reader(size, audit::tile_source(std::move(tiles)));
  tlog::Checkpoint out = latest;
  out.size = size;
  CITADEL_CO_ASSIGN(out.root, tlog::read_root(reader, size));
  co_return out;
}

Task<Result<std::string>> consistency(ApiContextPtr context, std::uint64_t from,
                                      std::optional<std::uint64_t> to, Deadline deadline) {
  const auto published = context->audit->publisher().status().published;
  if (!published) co_return fail(Code::unavailable, "no checkpoint has been signed yet; /readyz says why");
  CITADEL_CO_ASSIGN(const auto end, co_await checkpoint_at(context, to.value_or(published->checkpoint.size),
                                                           published->checkpoint, deadline));
  if (from > end.size) {
    co_return fail(Code::invalid_argument, fmt::format("from: must be at most {}", end.size));
  }
  CITADEL_CO_ASSIGN(const auto proof,
                    co_await audit::prove_consistency(context->database, from, end, deadline));
  citadel::json::Writer out;
  out.begin_object().key("from").integer(static_cast<std::int64_t>(from));
  out.key("to")
      .integer(static_cast<std::int64_t>(end.size))
      .key("root")
      .text(to_base64(end.root))
      .key("proof");
  write_hashes(out, proof);
  out.key("checkpoint").text(published->note).end_object();
  co_return out.take();
}

Task<Response> get_consistency(ApiContextPtr context, Request& request) {
  if (const auto known = request.allow_query({"from", "to"}); !known)
    co_return audit_problem(request, known.error());
  const auto from = parse_number(request, "from", 0);
  if (!from) co_return audit_problem(request, from.error());
  const auto to = parse_number(request, "to", 0);
  if (!to) co_return audit_problem(request, to.error());
  const auto end = request.query("to") ? std::optional(*to) : std::nullopt;
  const auto body = co_await on_data_plane(*context, consistency(context, *from, end, request.deadline));
  if (!body) co_return audit_problem(request, body.error());
  co_return Response::json(200, *body);
}

}  // namespace

void add_audit_proof_routes(http::Router& router, ApiContextPtr context) {
  using http::Method;
  router.add(Method::get, "/v1/audit/proof", {}, [context](Request& r) { return get_proof(context, r); });
  router.add(Method::get, "/v1/audit/consistency", {},
             [context](Request& r) { return get_consistency(context, r); });
}

}  // namespace citadel::app
