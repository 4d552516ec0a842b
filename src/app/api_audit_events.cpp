// POST /v1/audit/events: events into the audit trail, and how far an acknowledgement waits.
#include <fmt/format.h>

#include "app/api_audit.hpp"
#include "app/api_audit_query.hpp"
#include "app/settings.hpp"
#include "app/thread_random.hpp"
#include "audit/batch.hpp"
#include "audit/event_json.hpp"
#include "base/base64.hpp"
#include "tlog/proof.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

// Each proof reads tiles and has about 1 KiB.
constexpr std::size_t proofs_max = 100;
// Taken off the request's deadline, so that a wait that does not end is answered with 202 and not with 504.
constexpr auto answer_time = std::chrono::milliseconds(500);
// Of the answer to most requests, so that it is allocated once: what stands around the ids, and an id.
constexpr std::size_t answer_bytes = 80, id_bytes = 40;

struct Logged {
  std::uint64_t index = 0;
  std::string leaf, proof;  // with ack=checkpoint
};
struct LogPlaces {
  std::vector<Logged> places;  // in the order of the events
  std::string checkpoint;
  bool witnessed = true;  // by a quorum, where witnesses are asked
};

// Replaced before anything is kept. What was replaced may have grown past the limits.
Result<void> redact(const ApiContext& context, std::vector<audit::Event>& events,
                    const audit::EventLimits& limits) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    CITADEL_ASSIGN(const auto redacted, context.audit->redactor().apply(events[i]));
    if (redacted.empty()) continue;
    for (const auto& rule : redacted) count += rule.count;
    if (auto checked = audit::check_event(events[i], limits); !checked) {
      const auto place = events.size() == 1 ? std::string() : fmt::format("/{}", i);
      return fail(Code::invalid_argument, place + checked.error().message);
    }
  }
  context.audit->count_redacted(count);
  return {};
}

Result<std::vector<audit::Event>> read_events(const ApiContext& context, Request& request, Ack ack) {
  CITADEL_ASSIGN(const auto form, body_form(request.headers.get("Content-Type")));
  const auto limits = event_limits(context.config);
  CITADEL_ASSIGN(auto events,
                 audit::parse_events(request.body, form, limits, context.clock.wall(), thread_random()));
  if (ack == Ack::checkpoint && events.size() > proofs_max) {
    return fail(
        Code::invalid_argument,
        fmt::format("ack: with checkpoint a proof is given for each event, so a body has at most {} of them",
                    proofs_max));
  }
  CITADEL_TRY(apply_idempotency_key(request, events, request.body, limits));
  CITADEL_TRY(redact(context, events, limits));
  return events;
}

// Whether the entry under the event's id says what the event says.
Task<Result<bool>> is_own_entry(ApiContextPtr context, const audit::Event& event, std::uint64_t index,
                                Deadline deadline) {
  CITADEL_CO_ASSIGN(const auto entry,
                    co_await audit::get_entry(context->database, index, audit::OpenGroups::yes,
                                              context->audit->keys(), deadline));
  if (!entry.envelope) co_return true;
  audit::Event stored = entry.envelope->event;
  for (const auto& group : entry.groups) {
    if (group.opened) stored.group(group.group) = group.opened->bytes;
  }
  co_return audit::is_same_event(stored, event);
}

Task<Result<std::uint64_t>> conflicts_so_far(ApiContextPtr context) {
  co_return context->audit->status().drain.conflicting_total;
}

// On the data plane: where the events stand in the log.
Task<Result<LogPlaces>> find_places(ApiContextPtr context, const std::vector<audit::Event>& events,
                                    const std::vector<Recorded>& recorded, std::uint64_t conflicts_before,
                                    Deadline deadline) {
  journal::Position last;
  std::vector<Uuid> ids;
  for (const auto& item : recorded) {
    last = std::max(last, item.position);
    ids.push_back(item.id);
  }
  CITADEL_CO_TRY(co_await context->audit->publisher().wait_drained(last, deadline));
  CITADEL_CO_ASSIGN(const auto found,
                    co_await audit::find_indexes(context->database, std::move(ids), deadline));
  const std::map<Uuid, std::uint64_t> indexes(found.begin(), found.end());
  CITADEL_CO_ASSIGN(const auto conflicts, co_await conflicts_so_far(context));
  LogPlaces out;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto at = indexes.find(events[i].id);
    if (at == indexes.end()) {
      co_return fail(Code::internal,
                     fmt::format("the event {} was set aside; its bytes are in citadel.dead_letter",
                                 events[i].id.to_string()));
    }
    // Asked for only where something was set aside meanwhile.
    if (conflicts != conflicts_before) {
      CITADEL_CO_ASSIGN(const bool own, co_await is_own_entry(context, events[i], at->second, deadline));
      if (!own) {
        co_return fail(
            Code::conflict,
            fmt::format("{}: {} is the id of another event; this one is kept in audit.conflict",
                        events.size() == 1 ? "/id" : fmt::format("/{}/id", i), events[i].id.to_string()));
      }
    }
    out.places.push_back({.index = at->second, .leaf = {}, .proof = {}});
  }
  co_return out;
}

Task<Result<LogPlaces>> prove_places(ApiContextPtr context, LogPlaces found, Deadline deadline) {
  std::uint64_t last = 0;
  for (const auto& place : found.places) last = std::max(last, place.index);
  CITADEL_CO_ASSIGN(const auto published,
                    co_await context->audit->publisher().wait_published(last, deadline));
  found.checkpoint = published.note;
  found.witnessed = context->audit->publisher().is_witnessed(published);
  for (auto& place : found.places) {
    CITADEL_CO_ASSIGN(auto proof,
                      co_await audit::prove_inclusion(context->database, place.index, published.checkpoint,
                                                      deadline, &context->audit->tiles()));
    place.leaf = std::move(proof.leaf);
    place.proof = tlog::LogProof{.extra = {},
                                 .index = place.index,
                                 .inclusion = std::move(proof.hashes),
                                 .checkpoint = published.note}
                      .encode();
  }
  co_return found;
}

Task<Result<LogPlaces>> wait_for(ApiContextPtr context, const std::vector<audit::Event>& events,
                                 const std::vector<Recorded>& recorded, Ack ack,
                                 std::uint64_t conflicts_before, Deadline deadline) {
  CITADEL_CO_ASSIGN(auto found, co_await find_places(context, events, recorded, conflicts_before, deadline));
  if (ack == Ack::database) co_return found;
  co_return co_await prove_places(context, std::move(found), deadline);
}

Response accepted(const std::vector<Recorded>& recorded, std::string_view note) {
  std::int64_t repeated = 0;
  citadel::json::Writer out(answer_bytes + recorded.size() * id_bytes);
  out.begin_object().key("accepted").integer(static_cast<std::int64_t>(recorded.size()));
  out.key("ack").text("journal").key("ids").begin_array();
  for (const auto& item : recorded) {
    out.text(item.id.to_string());
    repeated += item.repeated ? 1 : 0;
  }
  out.end_array();
  if (repeated > 0) out.key("repeated").integer(repeated);
  if (!note.empty()) out.key("note").text(note);
  out.end_object();
  return Response::json(202, out.take());
}

Response logged(const std::vector<Recorded>& recorded, const LogPlaces& found, Ack ack) {
  citadel::json::Writer out;
  out.begin_object().key("accepted").integer(static_cast<std::int64_t>(recorded.size()));
  out.key("ack").text(to_string(ack)).key("events").begin_array();
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    const auto& place = found.places[i];
    out.begin_object().key("id").text(recorded[i].id.to_string());
    out.key("index").integer(static_cast<std::int64_t>(place.index));
    if (ack == Ack::checkpoint) {
      out.key("leaf").text(to_base64(as_bytes(place.leaf))).key("proof").text(place.proof);
    }
    out.end_object();
  }
  out.end_array();
  if (ack == Ack::checkpoint) out.key("checkpoint").text(found.checkpoint);
  if (!found.witnessed) {
    out.key("note").text(
        "the checkpoint is signed, and a quorum of witnesses has not cosigned it; /readyz says why");
  }
  out.end_object();
  return Response::json(200, out.take());
}

// Whether the wait did not end, and the event is as safe as with ack=journal.
bool only_waited(Code code) {
  return code != Code::conflict && code != Code::corrupt && code != Code::internal;
}

Task<Response> post_events(ApiContextPtr context, Request& request) {
  if (const auto known = request.allow_query({"ack"}); !known)
    co_return audit_problem(request, known.error());
  const auto ack = parse_ack(request);
  if (!ack) co_return audit_problem(request, ack.error());
  const auto events = read_events(*context, request, *ack);
  if (!events) co_return audit_problem(request, events.error());
  std::uint64_t conflicts_before = 0;
  if (*ack != Ack::journal) {
    conflicts_before = (co_await on_data_plane(*context, conflicts_so_far(context))).value_or(0);
  }
  const auto recorded = co_await context->audit->record(*events, request.deadline);
  if (!recorded) co_return audit_problem(request, recorded.error());
  if (*ack == Ack::journal) co_return accepted(*recorded, "");
  const auto deadline = Deadline::at(request.deadline.when() - answer_time);
  const auto found = co_await on_data_plane(
      *context, wait_for(context, *events, *recorded, *ack, conflicts_before, deadline));
  if (found) co_return logged(*recorded, *found, *ack);
  if (!only_waited(found.error().code)) co_return audit_problem(request, found.error());
  co_return accepted(*recorded,
                     fmt::format("on disk here, but not yet as ack={} asks; do not send it again: {}",
                                 to_string(*ack), http::problem_of(found.error()).detail));
}

}  // namespace

void add_audit_event_routes(http::Router& router, ApiContextPtr context) {
  const http::RouteOptions writes{
      .body_bytes_max = static_cast<std::size_t>(context->config.http.body_bytes_max),
      .deadline = std::chrono::duration_cast<Monotonic::duration>(context->config.http.request_timeout)};
  router.add(http::Method::post, "/v1/audit/events", writes,
             [context](Request& request) { return post_events(context, request); });
}

}  // namespace citadel::app
