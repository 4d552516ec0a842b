// What becomes of the trail's content: holds, erasures and their certificates, retention, rotation of keys.
#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "app/api_audit.hpp"
#include "app/api_query.hpp"
#include "app/erasure_certificate.hpp"
#include "audit/key_rotation.hpp"
#include "base/time_text.hpp"
#include "json/object_reader.hpp"
#include "json/writer.hpp"

namespace citadel::app {
namespace {

using citadel::json::ObjectReader;
using http::Request;
using http::Response;

constexpr auto act_time = std::chrono::seconds(60);
constexpr auto long_time = std::chrono::minutes(10);
// What is left of the deadline for an answer, once the wait for a proof has ended.
constexpr auto answer_time = std::chrono::seconds(2);
constexpr auto look_again = std::chrono::milliseconds(50);

audit::Caller caller_of(const Request& request) {
  const auto actor = actor_of(request);
  return {.actor = fmt::format("{}:{}", actor.type, actor.id),
          .from = actor.address,
          .request_id = request.request_id};
}

Response answer(const Request& request, const Result<std::string>& body) {
  if (!body) return audit_problem(request, body.error());
  return Response::json(200, *body);
}

// ---- holds

std::optional<std::string> optional_name(ObjectReader& in, std::string_view name) {
  const auto text = in.optional_text(name, {});
  return text ? std::optional(std::string(*text)) : std::nullopt;
}

std::optional<WallTime> optional_time(ObjectReader& in, std::string_view name) {
  const auto text = in.optional_text(name, {});
  if (!text) return std::nullopt;
  const auto time = parse_day_or_time(*text);
  if (!time) in.refuse(name, "is neither a day like 2026-11-25 nor an RFC 3339 time");
  return time;
}

struct HoldRequest {
  audit::HoldScope scope;
  std::string reason;
};

Result<HoldRequest> read_hold(const Request& request) {
  CITADEL_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  HoldRequest out;
  out.scope.tenant = optional_name(in, "tenant");
  out.scope.subject = optional_name(in, "subject");
  out.scope.from = optional_time(in, "from");
  out.scope.to = optional_time(in, "to");
  if (const auto* object = in.optional_value("object"); object != nullptr && object->is_object()) {
    ObjectReader fields(object->get_object(), "/object");
    out.scope.object_type = fields.text("type", {});
    out.scope.object = fields.text("id", {});
    CITADEL_TRY(fields.finish());
  } else if (object != nullptr) {
    in.refuse("object", "must be {\"type\", \"id\"}");
  }
  out.reason = read_reason(in);
  CITADEL_TRY(in.finish());
  return out;
}

void write_hold(citadel::json::Writer& out, const audit::Hold& hold) {
  out.begin_object().key("id").text(hold.id.to_string());
  const auto text = [&](std::string_view name, const std::optional<std::string>& value) {
    if (value) out.key(name).text(*value);
  };
  text("tenant", hold.scope.tenant);
  text("subject", hold.scope.subject);
  if (hold.scope.object) {
    out.key("object").begin_object().key("type").text(hold.scope.object_type.value_or(""));
    out.key("id").text(*hold.scope.object).end_object();
  }
  if (hold.scope.from) out.key("from").text(format_time(*hold.scope.from));
  if (hold.scope.to) out.key("to").text(format_time(*hold.scope.to));
  out.key("reason").text(hold.reason).key("placed_by").text(hold.placed_by);
  out.key("placed_at").text(format_time(hold.placed_at));
  if (hold.released_at) {
    out.key("released_at").text(format_time(*hold.released_at)).key("released_by").text(hold.released_by);
    out.key("release_reason").text(hold.release_reason);
  }
  out.end_object();
}

std::string hold_json(const audit::Hold& hold) {
  citadel::json::Writer out;
  write_hold(out, hold);
  return out.take();
}

Task<Response> post_hold(ApiContextPtr context, Request& request) {
  auto wanted = read_hold(request);
  if (!wanted) co_return audit_problem(request, wanted.error());
  const auto hold = co_await on_data_plane(
      *context, audit::place_hold(context->database, std::move(wanted->scope), std::move(wanted->reason),
                                  caller_of(request), request.deadline));
  if (!hold) co_return audit_problem(request, hold.error());
  co_return Response::json(201, hold_json(*hold));
}

Task<Result<std::string>> holds(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({"all"}));
  const auto all = request.query("all");
  if (all && *all != "true" && *all != "false")
    co_return fail(Code::invalid_argument, "all: must be true or false");
  CITADEL_CO_TRY(
      co_await record_access(context, request, "audit.read", {.type = "audit_holds", .id = "all"}, ""));
  const auto which = all == "true" ? audit::WhichHolds::all : audit::WhichHolds::lasting;
  CITADEL_CO_ASSIGN(
      const auto found,
      co_await on_data_plane(*context, audit::list_holds(context->database, which, request.deadline)));
  citadel::json::Writer out;
  out.begin_object().key("holds").begin_array();
  for (const auto& hold : found) write_hold(out, hold);
  out.end_array().end_object();
  co_return out.take();
}

Result<std::string> read_release(const Request& request) {
  CITADEL_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  std::string reason = read_reason(in);
  CITADEL_TRY(in.finish());
  return reason;
}

Task<Response> post_release(ApiContextPtr context, Request& request) {
  const auto id = parse_uuid(request.path_parameter("id"));
  if (!id) co_return audit_problem(request, Error(Code::invalid_argument, "id: is not a UUID"));
  auto reason = read_release(request);
  if (!reason) co_return audit_problem(request, reason.error());
  const auto hold = co_await on_data_plane(
      *context,
      audit::release_hold(context->database, *id, *std::move(reason), caller_of(request), request.deadline));
  if (!hold) co_return audit_problem(request, hold.error());
  co_return Response::json(200, hold_json(*hold));
}

// ---- erasure

struct ErasureRequest {
  std::string tenant, subject, reason;
};

Result<ErasureRequest> read_erasure(const Request& request) {
  CITADEL_ASSIGN(const auto body, read_object(request));
  ObjectReader in(body.get_object());
  ErasureRequest out;
  out.subject = in.text("subject", {});
  out.tenant = in.optional_text("tenant", {}).value_or("default");
  out.reason = read_reason(in);
  CITADEL_TRY(in.finish());
  return out;
}

// What was acknowledged here before must be in the log first: it would come into it afterwards, unerased.
Task<Result<audit::Erasure>> erase(ApiContextPtr context, ErasureRequest wanted, audit::Caller caller,
                                   Deadline deadline) {
  const auto drained = co_await context->audit->publisher().wait_drained(
      context->audit->status().journal.last_durable, deadline);
  if (!drained) {
    co_return fail(
        Code::unavailable,
        "events that were acknowledged here are not in the log yet, so nothing was erased; /readyz "
        "says why they wait",
        Retry::safe);
  }
  co_return co_await audit::erase_subject(context->database, std::move(wanted.tenant),
                                          std::move(wanted.subject), std::move(wanted.reason),
                                          std::move(caller), deadline);
}

// Waits until the erasure's entry is under a signed checkpoint.
Task<Result<ProvedEntry>> prove_erasure(ApiContextPtr context, Uuid id, Deadline deadline) {
  auto& database = context->database;
  auto& publisher = context->audit->publisher();
  std::optional<std::uint64_t> index;
  for (publisher.kick(); !index;) {
    CITADEL_CO_ASSIGN(const auto found, co_await audit::find_indexes(database, {id}, deadline));
    if (!found.empty()) index = found.front().second;
    if (!index && deadline.expired())
      co_return fail(Code::deadline_exceeded, "its entry is not in the log yet");
    if (!index) co_await aio::sleep_for(look_again);
  }
  CITADEL_CO_ASSIGN(const auto checkpoint, co_await publisher.wait_published(*index, deadline));
  ProvedEntry out;
  out.checkpoint = checkpoint.note;
  CITADEL_CO_ASSIGN(out.proof, co_await audit::prove_inclusion(database, *index, checkpoint.checkpoint,
                                                               deadline, &context->audit->tiles()));
  CITADEL_CO_ASSIGN(out.entry, co_await audit::get_entry(database, *index, audit::OpenGroups::yes,
                                                         context->audit->keys(), deadline));
  co_return out;
}

Task<Response> certificate(ApiContextPtr context, Request& request, const audit::Erasure& erasure) {
  const auto deadline = Deadline::at(request.deadline.when() - answer_time);
  auto proved = co_await on_data_plane(*context, prove_erasure(context, erasure.id, deadline));
  const auto& origin = context->audit->origin();
  if (!proved && proved.error().code == Code::corrupt) co_return audit_problem(request, proved.error());
  if (!proved) {
    const auto note = fmt::format(
        "it was erased, but the proof is not there yet; get it from "
        "/v1/audit/erasures/{}: {}",
        erasure.id.to_string(), http::problem_of(proved.error()).detail);
    co_return Response::json(202, erasure_certificate(origin, erasure, std::nullopt, note));
  }
  co_return Response::json(200, erasure_certificate(origin, erasure, *std::move(proved), ""));
}

Task<Response> post_erasure(ApiContextPtr context, Request& request) {
  auto wanted = read_erasure(request);
  if (!wanted) co_return audit_problem(request, wanted.error());
  const auto deadline = Deadline::at(request.deadline.when() - 2 * answer_time);
  const auto erasure =
      co_await on_data_plane(*context, erase(context, *std::move(wanted), caller_of(request), deadline));
  if (!erasure) co_return audit_problem(request, erasure.error());
  co_return co_await certificate(context, request, *erasure);
}

Task<Response> get_erasure(ApiContextPtr context, Request& request) {
  const auto id = parse_uuid(request.path_parameter("id"));
  if (!id) co_return audit_problem(request, Error(Code::invalid_argument, "id: is not a UUID"));
  const auto recorded = co_await record_access(context, request, "audit.proved",
                                               {.type = "audit_event", .id = id->to_string()}, "");
  if (!recorded) co_return audit_problem(request, recorded.error());
  const auto erasure =
      co_await on_data_plane(*context, audit::find_erasure(context->database, *id, request.deadline));
  if (!erasure) co_return audit_problem(request, erasure.error());
  co_return co_await certificate(context, request, *erasure);
}

// ---- retention

void write_keep(citadel::json::Writer& out, const audit::KeepTimes& keep) {
  out.key("keep_seconds").begin_object();
  for (std::size_t i = 0; i < keep.size(); ++i) {
    out.key(to_string(static_cast<audit::Retention>(i + 1))).integer(keep[i].count());
  }
  out.end_object();
}

Task<Result<std::string>> retention_plan(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(
      co_await record_access(context, request, "audit.read", {.type = "audit_retention", .id = "all"}, ""));
  const auto& keep = context->audit->retention().keep();
  CITADEL_CO_ASSIGN(
      const auto plan,
      co_await on_data_plane(*context, audit::plan_retention(context->database, keep, request.deadline)));
  citadel::json::Writer out;
  out.begin_object();
  write_keep(out, keep);
  out.key("months").begin_array();
  for (const auto& month : plan) {
    out.begin_object()
        .key("month")
        .text(audit::to_string(month.month))
        .key("partition")
        .text(month.partition);
    out.key("due_at").text(format_time(month.due_at)).key("due").boolean(month.due);
    if (month.held_by) out.key("held_by").text(month.held_by->to_string());
    out.key("events_estimate").integer(month.events_estimate).key("size_bytes").integer(month.size_bytes);
    out.end_object();
  }
  CITADEL_CO_ASSIGN(
      const auto leftovers,
      co_await on_data_plane(*context, audit::plan_leftovers(context->database, keep, request.deadline)));
  out.end_array().key("leftovers").begin_array();
  for (const auto& some : leftovers) {
    out.begin_object().key("in").text(some.kept_in).key("month").text(audit::to_string(some.month));
    out.key("due_at").text(format_time(some.due_at)).key("due").boolean(some.due);
    if (some.held_by) out.key("held_by").text(some.held_by->to_string());
    out.key("rows").integer(some.rows).end_object();
  }
  out.end_array().end_object();
  co_return out.take();
}

Task<Result<std::string>> retention_run(ApiContextPtr context, Request& request) {
  if (!context->config.audit_retention.enabled) {
    co_return fail(Code::conflict, "audit.retention.enabled is false: nothing is dropped");
  }
  CITADEL_CO_ASSIGN(
      const auto run,
      co_await on_data_plane(*context, context->audit->retention().run(context->database, caller_of(request),
                                                                       request.deadline)));
  citadel::json::Writer out;
  out.begin_object().key("dropped").begin_array();
  for (const auto& month : run.dropped) {
    out.begin_object()
        .key("month")
        .text(audit::to_string(month.month))
        .key("partition")
        .text(month.partition);
    out.key("events").integer(month.events).key("groups").integer(month.groups).end_object();
  }
  out.end_array().key("held").begin_array();
  for (const auto& month : run.held) {
    out.begin_object()
        .key("month")
        .text(audit::to_string(month.month))
        .key("partition")
        .text(month.partition);
    out.key("held_by").text(month.hold.to_string()).end_object();
  }
  out.end_array().key("failed").begin_array();
  for (const auto& failed : run.failed) {
    out.begin_object().key("month").text(failed.name);
    out.key("detail").text(http::problem_of(failed.error).detail).end_object();
  }
  out.end_array().key("leftovers").begin_array();
  for (const auto& some : run.leftovers) {
    out.begin_object().key("of").text(some.name).key("rows").integer(some.rows);
    if (some.held_by) out.key("held_by").text(some.held_by->to_string());
    out.end_object();
  }
  out.end_array().end_object();
  co_return out.take();
}

// ---- keys

Task<Result<journal::Status>> journal_status(ApiContextPtr context) {
  co_return context->audit->status().journal;
}

Task<Result<std::string>> rotate_key(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(const auto done,
                    co_await on_data_plane(
                        *context, audit::rotate_subject_keys(context->database, context->audit->shared_keys(),
                                                             caller_of(request), request.deadline)));
  // That nothing was left to do is worth an entry too: it says when the older keys could go.
  CITADEL_CO_TRY(co_await record_access(
      context, request, "audit.key_rotated", {.type = "master_key", .id = done.master},
      fmt::format(
          "all {} keys of subjects are wrapped by it, {} of them anew; {} of conflicts and {} of dead "
          "letters were wrapped anew, and {} of these could not be opened",
          done.alive, done.keys, done.leftovers.conflicts, done.leftovers.dead_letters,
          done.leftovers.unopened)));
  CITADEL_CO_ASSIGN(const auto journal, co_await on_data_plane(*context, journal_status(context)));
  citadel::json::Writer out;
  out.begin_object().key("master_key").text(done.master);
  out.key("rewrapped").integer(static_cast<std::int64_t>(done.keys));
  out.key("keys").integer(static_cast<std::int64_t>(done.alive));
  out.key("conflicts").integer(static_cast<std::int64_t>(done.leftovers.conflicts));
  out.key("dead_letters").integer(static_cast<std::int64_t>(done.leftovers.dead_letters));
  out.key("unopened").integer(static_cast<std::int64_t>(done.leftovers.unopened));
  // Of epochs before this one, which another master key may have wrapped.
  out.key("journal_waits").boolean(journal.undrained_records > 0 && journal.cursor.epoch < journal.epoch);
  out.end_object();
  co_return out.take();
}

}  // namespace

void add_audit_lifecycle_routes(http::Router& router, ApiContextPtr context) {
  using http::Method;
  const http::RouteOptions acts{.deadline = act_time}, jobs{.deadline = long_time};
  router.add(Method::post, "/v1/audit/holds", acts,
             without_query([context](Request& r) { return post_hold(context, r); }));
  router.add(Method::get, "/v1/audit/holds", {},
             [context](Request& r) -> Task<Response> { co_return answer(r, co_await holds(context, r)); });
  router.add(Method::post, "/v1/audit/holds/{id}/release", acts,
             without_query([context](Request& r) { return post_release(context, r); }));
  router.add(Method::post, "/v1/audit/erasures", acts,
             without_query([context](Request& r) { return post_erasure(context, r); }));
  router.add(Method::get, "/v1/audit/erasures/{id}", {},
             without_query([context](Request& r) { return get_erasure(context, r); }));
  router.add(Method::get, "/v1/audit/retention", acts, without_query([context](Request& r) -> Task<Response> {
               co_return answer(r, co_await retention_plan(context, r));
             }));
  router.add(Method::post, "/v1/audit/retention", jobs,
             without_query([context](Request& r) -> Task<Response> {
               co_return answer(r, co_await retention_run(context, r));
             }));
  router.add(Method::post, "/v1/audit/rotate-key", jobs,
             without_query([context](Request& r) -> Task<Response> {
               co_return answer(r, co_await rotate_key(context, r));
             }));
}

}  // namespace citadel::app
