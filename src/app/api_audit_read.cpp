// The audit trail read: single entries, search, traces, export and tail. Each reading is recorded first.
#include <fmt/format.h>

#include "app/api_audit.hpp"
#include "app/api_audit_query.hpp"
#include "app/api_query.hpp"
#include "app/audit_answers.hpp"
#include "audit/column_check.hpp"
#include "http/sse.hpp"

namespace citadel::app {
namespace {

using http::Request;
using http::Response;

constexpr std::size_t export_page = 500;
constexpr std::size_t tail_page = 100;
constexpr auto export_time_max = std::chrono::hours(12);
constexpr auto page_time = std::chrono::seconds(20);

Response answer(const Request& request, const Result<std::string>& body) {
  if (!body) return audit_problem(request, body.error());
  return Response::json(200, *body);
}

Task<Result<std::string>> entry_of(ApiContextPtr context, Request& request, std::optional<Uuid> id,
                                   std::uint64_t index) {
  CITADEL_CO_ASSIGN(const auto open, parse_open(request));
  CITADEL_CO_TRY(co_await record_access(
      context, request, "audit.read",
      {.type = id ? "audit_event" : "audit_entry", .id = id ? id->to_string() : std::to_string(index)},
      open == audit::OpenGroups::yes ? "with its groups opened" : ""));
  const auto& keys = context->audit->keys();
  auto& database = context->database;
  const auto entry =
      co_await on_data_plane(*context, id ? audit::find_entry(database, *id, open, keys, request.deadline)
                                          : audit::get_entry(database, index, open, keys, request.deadline));
  if (!entry) co_return std::unexpected(entry.error());
  co_return entry_json(*entry);
}

Task<Response> get_event(ApiContextPtr context, Request& request) {
  if (const auto known = request.allow_query({"open"}); !known)
    co_return audit_problem(request, known.error());
  const auto id = parse_uuid(request.path_parameter("id"));
  if (!id) co_return audit_problem(request, Error(Code::invalid_argument, "id: is not a UUID"));
  co_return answer(request, co_await entry_of(context, request, *id, 0));
}

Task<Response> get_entry(ApiContextPtr context, Request& request) {
  if (const auto known = request.allow_query({"open"}); !known)
    co_return audit_problem(request, known.error());
  const auto index = parse_index(request.path_parameter("index"), "index");
  if (!index) co_return audit_problem(request, index.error());
  co_return answer(request, co_await entry_of(context, request, std::nullopt, *index));
}

Task<Result<std::string>> search(ApiContextPtr context, Request& request) {
  CITADEL_CO_ASSIGN(auto filter, parse_search(request, context->config.audit.page_rows_max));
  CITADEL_CO_TRY(co_await record_access(context, request, "audit.searched",
                                        {.type = "audit_log", .id = context->audit->origin()},
                                        recorded_query(request)));
  CITADEL_CO_ASSIGN(const auto page, co_await on_data_plane(
                                         *context, audit::search_events(context->database, std::move(filter),
                                                                        request.deadline)));
  co_return page_json(page);
}

Task<Result<std::string>> trace(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({"cursor", "limit"}));
  CITADEL_CO_ASSIGN(const auto limit, parse_number(request, "limit", 100));
  if (limit < 1 || limit > static_cast<std::uint64_t>(audit::search_limit_max)) {
    co_return fail(Code::invalid_argument,
                   fmt::format("limit: must be an integer from 1 to {}", audit::search_limit_max));
  }
  std::string id(request.path_parameter("trace_id"));
  CITADEL_CO_TRY(co_await record_access(context, request, "audit.searched", {.type = "trace", .id = id}, ""));
  CITADEL_CO_ASSIGN(
      const auto page,
      co_await on_data_plane(*context, audit::trace_events(context->database, std::move(id),
                                                           std::string(request.query("cursor").value_or("")),
                                                           static_cast<int>(limit), request.deadline)));
  co_return page_json(page);
}

// Entries [next, end) as lines, page by page.
class Export {
 public:
  explicit Export(ApiContextPtr c) : context(std::move(c)) {}

  ApiContextPtr context;
  std::uint64_t next = 0, end = 0;
  audit::OpenGroups open = audit::OpenGroups::no;
  bool check_columns = false;

  using Entries = std::vector<audit::EntryView>;

  Task<Result<std::string>> page() {
    const auto deadline = Deadline::after(page_time, context->clock);
    const auto count = std::min<std::uint64_t>(export_page, end - next);
    auto entries = co_await read(next, count, open, deadline);
    if (!entries && entries.error().code == Code::corrupt) entries = co_await read_good(count, deadline);
    if (!entries) co_return std::unexpected(entries.error());
    std::string lines;
    for (const auto& entry : *entries) CITADEL_CO_TRY(append_export_line(lines, entry));
    next = entries->empty() ? end : entries->back().index + 1;
    co_return lines;
  }

 private:
  Task<Result<Entries>> read(std::uint64_t first, std::size_t count, audit::OpenGroups opened,
                             Deadline deadline) {
    return on_data_plane(*context, read_checked(first, count, opened, deadline));
  }
  Task<Result<Entries>> read_checked(std::uint64_t first, std::size_t count, audit::OpenGroups opened,
                                     Deadline deadline) {
    auto& database = context->database;
    CITADEL_CO_ASSIGN(auto entries, co_await audit::read_entries(database, first, count, opened,
                                                                 context->audit->keys(), deadline));
    if (check_columns) CITADEL_CO_TRY(co_await audit::check_columns(database, entries, deadline));
    co_return entries;
  }
  // What stands before an entry that cannot be read, so that whoever verifies comes as far as it. The entry
  // itself, where its leaf is not the tree's: then that is what is wrong, and not what does not open for it.
  Task<Result<Entries>> read_good(std::size_t count, Deadline deadline) {
    Entries good;
    for (std::size_t i = 0; i < count; ++i) {
      auto one = co_await read(next + i, 1, open, deadline);
      if (one) {
        std::ranges::move(*one, std::back_inserter(good));
        continue;
      }
      if (!good.empty()) co_return good;
      auto bare = co_await read(next + i, 1, audit::OpenGroups::no, deadline);
      if (bare && !bare->empty() && bare->front().tree_hash &&
          *bare->front().tree_hash != tlog::leaf_hash(as_bytes(bare->front().leaf_bytes)))
        co_return *std::move(bare);
      co_return std::unexpected(one.error());
    }
    co_return good;
  }
};

Task<Result<Response>> export_entries(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({"cursor", "limit", "open", "check"}));
  Export entries(context);
  CITADEL_CO_ASSIGN(entries.open, parse_open(request));
  CITADEL_CO_ASSIGN(entries.check_columns, parse_check(request));
  CITADEL_CO_ASSIGN(entries.next, parse_number(request, "cursor", 0));
  CITADEL_CO_ASSIGN(const auto limit, parse_number(request, "limit", tlog::tree_size_max));
  CITADEL_CO_ASSIGN(const auto published, co_await latest_checkpoint(context));
  const auto size = published.checkpoint.size;
  if (entries.next > size) {
    co_return fail(Code::invalid_argument, fmt::format("cursor: the signed log has {} entries", size));
  }
  // What was pruned is stepped over.
  CITADEL_CO_ASSIGN(
      const auto begins,
      co_await on_data_plane(*context, audit::first_index(context->database, request.deadline)));
  entries.next = std::min(std::max(entries.next, begins), size);
  entries.end = entries.next + std::min(limit, size - entries.next);
  CITADEL_CO_TRY(co_await record_access(context, request, "audit.exported",
                                        {.type = "audit_log", .id = context->audit->origin()},
                                        fmt::format("entries {} to {}", entries.next, entries.end)));
  // The first page comes before the status: what cannot be read at all is then a problem and no broken
  // stream.
  std::string first;
  if (entries.next < entries.end) {
    CITADEL_CO_ASSIGN(first, co_await entries.page());
  }
  http::Stream stream;
  stream.body = [entries = std::move(entries),
                 first = std::move(first)](http::StreamWriter& out) mutable -> Task<Result<void>> {
    if (!first.empty()) CITADEL_CO_TRY(co_await out.write(first));
    while (entries.next < entries.end) {
      CITADEL_CO_ASSIGN(const auto lines, co_await entries.page());
      CITADEL_CO_TRY(co_await out.write(lines));
    }
    co_return Result<void>();
  };
  co_return Response::streaming("application/jsonl", std::move(stream));
}

// Nothing of what events say, so it is not recorded.
Task<Response> get_beginning(ApiContextPtr context, Request& request) {
  const auto first =
      co_await on_data_plane(*context, audit::first_index(context->database, request.deadline));
  if (!first) co_return audit_problem(request, first.error());
  co_return Response::json(200, fmt::format("{{\"first\":{}}}", *first));
}

Task<Response> get_export(ApiContextPtr context, Request& request) {
  auto response = co_await export_entries(context, request);
  if (!response) co_return audit_problem(request, response.error());
  co_return *std::move(response);
}

// What a tail shows; nothing means all.
struct TailFilter {
  std::optional<std::string> tenant, actor, action;
  std::optional<audit::Outcome> outcome;

  bool shows(const audit::EntryView& entry) const {
    if (!entry.envelope) return !tenant && !actor && !action && !outcome;
    const auto& event = entry.envelope->event;
    const auto same = [](const auto& wanted, const auto& found) { return !wanted || *wanted == found; };
    return same(tenant, event.tenant) && same(actor, event.actor.id) && same(action, event.action) &&
           same(outcome, event.outcome);
  }
};

struct Tail {
  ApiContextPtr context;
  std::uint64_t next = 0;
  TailFilter filter;

  Task<Result<std::vector<audit::EntryView>>> read(Deadline deadline) {
    const auto published = co_await context->audit->publisher().wait_published(next, deadline);
    if (!published) co_return std::unexpected(published.error());
    const auto count = std::min<std::uint64_t>(tail_page, published->checkpoint.size - next);
    co_return co_await audit::read_entries(context->database, next, count, audit::OpenGroups::no,
                                           context->audit->keys(),
                                           Deadline::after(page_time, context->clock));
  }
  Task<Result<std::optional<http::Events>>> operator()(Deadline deadline) {
    const auto entries = co_await on_data_plane(*context, read(deadline));
    if (!entries && entries.error().code == Code::deadline_exceeded) co_return http::Events();
    if (!entries && entries.error().code == Code::cancelled) co_return std::nullopt;
    if (!entries) co_return std::unexpected(entries.error());
    http::Events events;
    for (const auto& entry : *entries) {
      next = entry.index + 1;
      if (filter.shows(entry)) events.push_back({std::to_string(entry.index), "entry", entry_json(entry)});
    }
    co_return events;
  }
};

Task<Result<Response>> tail_entries(ApiContextPtr context, Request& request) {
  CITADEL_CO_TRY(request.allow_query({"from", "tenant", "actor", "action", "outcome"}));
  Tail tail{.context = context, .next = 0, .filter = {}};
  const auto name = [&](std::string_view parameter) {
    const auto text = request.query(parameter);
    return text ? std::optional(std::string(*text)) : std::nullopt;
  };
  CITADEL_CO_ASSIGN(auto action, parse_action(request));
  tail.filter = {
      .tenant = name("tenant"), .actor = name("actor"), .action = std::move(action), .outcome = {}};
  if (const auto outcome = request.query("outcome")) {
    tail.filter.outcome = audit::parse_outcome(*outcome);
    if (!tail.filter.outcome) co_return fail(Code::invalid_argument, "outcome: is not an outcome");
  }
  CITADEL_CO_ASSIGN(const auto published, co_await latest_checkpoint(context));
  CITADEL_CO_ASSIGN(tail.next, parse_number(request, "from", published.checkpoint.size));
  CITADEL_CO_ASSIGN(const auto last, http::last_event_id(request));
  if (last) {
    CITADEL_CO_ASSIGN(const auto seen, parse_index(*last, "Last-Event-ID"));
    tail.next = seen + 1;
  }
  CITADEL_CO_TRY(co_await record_access(context, request, "audit.tailed",
                                        {.type = "audit_log", .id = context->audit->origin()},
                                        recorded_query(request)));
  co_return http::event_response(std::move(tail), {.retry = std::chrono::seconds(2)});
}

Task<Response> get_tail(ApiContextPtr context, Request& request) {
  auto response = co_await tail_entries(context, request);
  if (!response) co_return audit_problem(request, response.error());
  co_return *std::move(response);
}

}  // namespace

void add_audit_read_routes(http::Router& router, ApiContextPtr context) {
  using http::Method;
  const auto deadline = std::chrono::duration_cast<Monotonic::duration>(context->config.http.request_timeout);
  const http::RouteOptions reads{.deadline = deadline, .gzip = http::RouteOptions::Gzip::accepted};
  const http::RouteOptions streams{
      .deadline = deadline, .gzip = http::RouteOptions::Gzip::accepted, .stream_time_max = export_time_max};
  router.add(Method::get, "/v1/audit/events/tail", streams,
             [context](Request& r) { return get_tail(context, r); });
  router.add(Method::get, "/v1/audit/events/{id}", reads,
             [context](Request& r) { return get_event(context, r); });
  router.add(Method::get, "/v1/audit/entries/{index}", reads,
             [context](Request& r) { return get_entry(context, r); });
  router.add(Method::get, "/v1/audit/events", reads,
             [context](Request& r) -> Task<Response> { co_return answer(r, co_await search(context, r)); });
  router.add(Method::get, "/v1/audit/traces/{trace_id}", reads,
             [context](Request& r) -> Task<Response> { co_return answer(r, co_await trace(context, r)); });
  router.add(Method::get, "/v1/audit/beginning", reads,
             without_query([context](Request& r) { return get_beginning(context, r); }));
  router.add(Method::get, "/v1/audit/export", streams,
             [context](Request& r) { return get_export(context, r); });
}

}  // namespace citadel::app
