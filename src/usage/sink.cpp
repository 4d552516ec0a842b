#include "usage/sink.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/log.hpp"
#include "base/time_text.hpp"
#include "pg/copy_writer.hpp"
#include "usage/batch.hpp"
#include "usage/dictionary.hpp"
#include "usage/months.hpp"
#include "usage/record_codec.hpp"
#include "usage/record_json.hpp"
#include "usage/rollup.hpp"

namespace citadel::usage {
namespace {

using drain::Origin;
using drain::SinkOutcome;

// usage.ensure_partitions refuses more.
constexpr std::size_t days_per_call = 4'000;
constexpr std::size_t days_remembered_max = 10'000;
constexpr std::size_t copy_chunk_bytes = 256 << 10;

constexpr pg::Statement ensure_partitions{"usage partitions",
                                          "select usage.ensure_partitions($1::text[]::date[])"};
constexpr pg::Statement insert_tenants{
    "usage tenants",
    "insert into usage.tenant (name) select n from unnest($1::text[]) as n "
    "where not exists (select from usage.tenant where name = n) order by n on conflict do nothing"};
constexpr pg::Statement select_tenants{"usage tenant ids",
                                       "select id, name from usage.tenant where name = any($1)"};
constexpr pg::Statement insert_models{
    "usage models",
    "insert into usage.model (name) select n from unnest($1::text[]) as n "
    "where not exists (select from usage.model where name = n) order by n on conflict do nothing"};
constexpr pg::Statement select_models{"usage model ids",
                                      "select id, name from usage.model where name = any($1)"};

constexpr std::string_view select_stored = "select id, digest from usage.request where id = any($1)";
constexpr std::string_view copy_requests =
    "COPY usage.request (started_at, digest, cost_nano, latency_us, ttft_us, queue_us, tenant_id, model_id, "
    "prompt_tokens, completion_tokens, status, streamed, id, trace_id, endpoint, session, api_key, "
    "error_code) "
    "FROM STDIN (FORMAT binary)";
constexpr pg::Statement insert_conflicts{"usage conflicts",
                                         "insert into usage.request_conflict (id, digest, record) "
                                         "select id, digest, record::jsonb from unnest($1::uuid[], "
                                         "$2::int8[], $3::text[]) as c (id, digest, record) "
                                         "on conflict do nothing"};
constexpr pg::Statement insert_dead_letter{
    "usage dead letter",
    "insert into citadel.dead_letter (producer, epoch, sequence, id, kind, reason, payload) "
    "values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing"};

// One sum of an upsert; neither side is negative. See rollup.hpp for what sum_max means.
#define CITADEL_USAGE_ADD(sum)                                                                               \
  sum " = case when r." sum " > 9223372036854775807 - excluded." sum " then 9223372036854775807 else r." sum \
      " + excluded." sum " end"
#define CITADEL_USAGE_MAX(max) max " = greatest(r." max ", excluded." max ")"
#define CITADEL_USAGE_UPSERT(table) \
  "insert into usage." table " as r (bucket, tenant_id, model_id, requests, errors, prompt_tokens, completion_tokens, cost_nano, " \
  "latency_count, latency_us_sum, latency_us_max, ttft_count, ttft_us_sum, ttft_us_max, queue_count, queue_us_sum, queue_us_max) " \
  "select * from unnest($1::timestamptz[], $2::int4[], $3::int4[], $4::int8[], $5::int8[], $6::int8[], " \
  "$7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int8[], $16::int8[], $17::int8[]) " \
  "on conflict (bucket, tenant_id, model_id) do update set updated_at = now(), " \
  CITADEL_USAGE_ADD("requests") ", " CITADEL_USAGE_ADD("errors") ", " CITADEL_USAGE_ADD("prompt_tokens") ", " \
  CITADEL_USAGE_ADD("completion_tokens") ", " CITADEL_USAGE_ADD("cost_nano") ", " \
  CITADEL_USAGE_ADD("latency_count") ", " CITADEL_USAGE_ADD("latency_us_sum") ", " CITADEL_USAGE_MAX("latency_us_max") ", " \
  CITADEL_USAGE_ADD("ttft_count") ", " CITADEL_USAGE_ADD("ttft_us_sum") ", " CITADEL_USAGE_MAX("ttft_us_max") ", " \
  CITADEL_USAGE_ADD("queue_count") ", " CITADEL_USAGE_ADD("queue_us_sum") ", " CITADEL_USAGE_MAX("queue_us_max")

constexpr pg::Statement upsert_minute{"usage rollup minute", CITADEL_USAGE_UPSERT("rollup_minute")};
constexpr pg::Statement upsert_hour{"usage rollup hour", CITADEL_USAGE_UPSERT("rollup_hour")};
constexpr pg::Statement upsert_day{"usage rollup day", CITADEL_USAGE_UPSERT("rollup_day")};
#undef CITADEL_USAGE_UPSERT
#undef CITADEL_USAGE_MAX
#undef CITADEL_USAGE_ADD

std::string date_text(std::chrono::sys_days day) {
  return format_time(WallTime(day)).substr(0, 10);
}

template <class T, class Get>
std::vector<T> column(std::span<const RollupRow> rows, Get get) {
  std::vector<T> out;
  out.reserve(rows.size());
  for (const RollupRow& row : rows) out.push_back(get(row));
  return out;
}

pg::Params rollup_params(std::span<const RollupRow> rows) {
  pg::Params params;
  params.add(column<WallTime>(rows, [](const RollupRow& row) { return row.key.bucket; }));
  params.add(column<std::int32_t>(rows, [](const RollupRow& row) { return row.key.tenant_id; }));
  params.add(column<std::int32_t>(rows, [](const RollupRow& row) { return row.key.model_id; }));
  const auto add = [&](auto get) { params.add(column<std::int64_t>(rows, get)); };
  add([](const RollupRow& row) { return row.sums.requests; });
  add([](const RollupRow& row) { return row.sums.errors; });
  add([](const RollupRow& row) { return row.sums.prompt_tokens; });
  add([](const RollupRow& row) { return row.sums.completion_tokens; });
  add([](const RollupRow& row) { return row.sums.cost_nano; });
  for (const auto duration : {&Sums::latency, &Sums::ttft, &Sums::queue}) {
    add([duration](const RollupRow& row) { return (row.sums.*duration).count; });
    add([duration](const RollupRow& row) { return (row.sums.*duration).sum; });
    add([duration](const RollupRow& row) { return (row.sums.*duration).max; });
  }
  return params;
}

class UsageSink final : public drain::Sink {
 public:
  journal::Kind kind() const override { return journal::Kind::usage_request; }

  Task<Result<void>> prepare(store::Database& database, std::span<const journal::Frame> frames,
                             Deadline deadline) override {
    from_memory_ = !days_.empty();
    CITADEL_CO_TRY(co_await make_partitions(database, days_of(frames), deadline));
    std::set<std::string_view> tenants, models;
    std::string_view last_tenant, last_model;
    for (const journal::Frame& frame : frames) {
      // What cannot be read here is unreadable for write() too, which sets it aside.
      const auto names = peek_names(frame.payload);
      if (!names) continue;
      if (names->tenant != last_tenant) tenants.insert(last_tenant = names->tenant);
      if (names->model != last_model) models.insert(last_model = names->model);
    }
    CITADEL_CO_TRY(co_await tenants_.resolve(database, {tenants.begin(), tenants.end()}, deadline));
    co_return co_await models_.resolve(database, {models.begin(), models.end()}, deadline);
  }

  Task<Result<SinkOutcome>> write(pg::Transaction& transaction, Origin origin,
                                  std::span<const journal::Frame> frames, Deadline deadline) override {
    auto outcome = co_await write_batch(transaction, origin, frames, deadline);
    if (outcome) made_anew_ = false;
    // Once, until something is written: what does not help is not tried before each half of a batch that is
    // refused.
    if (outcome || !from_memory_ || made_anew_) co_return outcome;
    // 23514: no partition for the row; 23503: no such tenant or model. Both can only mean that the database
    // has lost what we remember, or that an operator has detached it.
    const std::string_view sqlstate = outcome.error().sqlstate;
    if (sqlstate != "23514" && sqlstate != "23503") co_return outcome;
    log::warning("usage", "the database has lost partitions or names that were there; they are made anew",
                 {{"error", outcome.error()}});
    made_anew_ = true;
    days_.clear();
    tenants_.clear();
    models_.clear();
    co_return fail(Code::unavailable, "partitions or names that were there are gone; they are made anew",
                   Retry::safe);
  }

 private:
  Task<Result<void>> make_partitions(store::Database& database, std::vector<std::chrono::sys_days> days,
                                     Deadline deadline) {
    if (days_.size() > days_remembered_max) days_.clear();
    std::erase_if(days, [&](std::chrono::sys_days day) { return days_.contains(day); });
    for (std::size_t from = 0; from < days.size(); from += days_per_call) {
      const auto some = std::span(days).subspan(from, std::min(days_per_call, days.size() - from));
      std::vector<std::string> texts;
      for (const auto day : some) texts.push_back(date_text(day));
      CITADEL_CO_TRY(co_await database.transact<bool>(
          deadline, store::Intent::write, {.name = "usage partitions"},
          [&](pg::Transaction& transaction) -> Task<Result<bool>> {
            CITADEL_CO_TRY(co_await transaction.execute(ensure_partitions, pg::Params(texts), deadline));
            co_return true;
          }));
      days_.insert(some.begin(), some.end());
    }
    co_return Result<void>();
  }

  Task<Result<SinkOutcome>> write_batch(pg::Transaction& transaction, Origin origin,
                                        std::span<const journal::Frame> frames, Deadline deadline) {
    Batch batch = read_batch(frames);
    CITADEL_CO_TRY(co_await find_stored(transaction, batch, deadline));
    SinkOutcome outcome{.stored = batch.rows.size(),
                        .repeated = batch.repeated,
                        .conflicting = batch.conflicts.size(),
                        .undecodable = batch.unreadable.size()};
    if (!batch.rows.empty()) {
      CITADEL_CO_ASSIGN(const auto rollups, sum_up(batch));
      CITADEL_CO_TRY(co_await copy_rows(transaction, batch, deadline));
      CITADEL_CO_TRY(co_await upsert_rollups(transaction, rollups, deadline));
    }
    CITADEL_CO_TRY(co_await keep_conflicts(transaction, batch, deadline));
    CITADEL_CO_TRY(co_await keep_unreadable(transaction, origin, batch, deadline));
    co_return outcome;
  }

  // Finds the batch's ids in the database, a month at a time, and takes them out of the rows.
  static Task<Result<void>> find_stored(pg::Transaction& transaction, Batch& batch, Deadline deadline) {
    std::vector<StoredDigest> stored;
    for (auto rest = std::span<const BatchRow>(batch.rows); !rest.empty();) {
      const Uuid& first = rest.front().record.id;
      const IdRange month{month_floor(first), next_month_floor(first)};
      std::vector<Uuid> ids;
      for (; !rest.empty() && rest.front().record.id < *month.below; rest = rest.subspan(1))
        ids.push_back(rest.front().record.id);
      const std::string sql = std::string(select_stored) + bounds_sql("id", month);
      const pg::Statement statement{"usage repeats", sql};
      CITADEL_CO_ASSIGN(const pg::Rows rows,
                        co_await transaction.execute(statement, pg::Params(ids), deadline));
      for (const pg::Row row : rows) stored.push_back({row.get<Uuid>(0), row.get<std::int64_t>(1)});
    }
    remove_stored(batch, std::move(stored));
    co_return Result<void>();
  }

  struct Rollups {
    std::vector<RollupRow> minute, hour, day;
  };

  Result<Rollups> sum_up(const Batch& batch) const {
    std::vector<RollupRow> singles;
    singles.reserve(batch.rows.size());
    for (const BatchRow& row : batch.rows) {
      const auto tenant = tenants_.find(row.record.tenant);
      const auto model = models_.find(row.record.model);
      if (!tenant || !model) return fail(Code::internal, "write() got records that prepare() has not seen");
      singles.push_back({{row.record.started_at, *tenant, *model}, sums_of(row.record)});
    }
    Rollups rollups;
    rollups.minute = roll_up(singles, Bucket::minute);
    rollups.hour = roll_up(rollups.minute, Bucket::hour);
    rollups.day = roll_up(rollups.hour, Bucket::day);
    return rollups;
  }

  Task<Result<void>> copy_rows(pg::Transaction& transaction, const Batch& batch, Deadline deadline) const {
    pg::CopyWriter writer;
    std::size_t next_row = 0;
    bool ended = false;
    const auto next_chunk = [&]() -> Result<std::string_view> {
      // Not before the first chunk: the stream's header is in it.
      if (next_row > 0) writer.clear();
      if (ended) return std::string_view();
      while (next_row < batch.rows.size() && writer.size_bytes() < copy_chunk_bytes) {
        const auto& [record, digest] = batch.rows[next_row++];
        writer.row(record.started_at, digest, record.cost_nano, record.latency_us, record.ttft_us,
                   record.queue_us, *tenants_.find(record.tenant), *models_.find(record.model),
                   record.prompt_tokens, record.completion_tokens, record.status, record.streamed, record.id,
                   record.trace_id, record.endpoint, record.session, record.api_key, record.error_code);
      }
      if (next_row == batch.rows.size()) {
        writer.finish();
        ended = true;
      }
      return writer.view();
    };
    CITADEL_CO_ASSIGN(const auto copied,
                      co_await transaction.connection().copy_in(copy_requests, deadline, next_chunk));
    if (copied != static_cast<std::int64_t>(batch.rows.size())) {
      co_return fail(Code::internal, fmt::format("COPY took {} of {} rows", copied, batch.rows.size()));
    }
    co_return Result<void>();
  }

  static Task<Result<void>> upsert_rollups(pg::Transaction& transaction, const Rollups& rollups,
                                           Deadline deadline) {
    CITADEL_CO_TRY(co_await transaction.execute(upsert_minute, rollup_params(rollups.minute), deadline));
    CITADEL_CO_TRY(co_await transaction.execute(upsert_hour, rollup_params(rollups.hour), deadline));
    CITADEL_CO_TRY(co_await transaction.execute(upsert_day, rollup_params(rollups.day), deadline));
    co_return Result<void>();
  }

  static Task<Result<void>> keep_conflicts(pg::Transaction& transaction, const Batch& batch,
                                           Deadline deadline) {
    if (batch.conflicts.empty()) co_return Result<void>();
    std::vector<Uuid> ids;
    std::vector<std::int64_t> digests;
    std::vector<std::string> records;
    for (const BatchRow& row : batch.conflicts) {
      json::Writer text;
      write_record(text, row.record);
      ids.push_back(row.record.id);
      digests.push_back(row.digest);
      records.push_back(text.take());
    }
    log::warning("usage",
                 "records came with ids that other records have; they are kept in usage.request_conflict",
                 {{"count", ids.size()}, {"first_id", ids.front()}});
    CITADEL_CO_TRY(
        co_await transaction.execute(insert_conflicts, pg::Params(ids, digests, records), deadline));
    co_return Result<void>();
  }

  static Task<Result<void>> keep_unreadable(pg::Transaction& transaction, Origin origin, const Batch& batch,
                                            Deadline deadline) {
    for (const auto& [frame, reason] : batch.unreadable) {
      log::error("usage", "a journal frame cannot be read; it is kept in citadel.dead_letter",
                 {{"epoch", origin.epoch}, {"sequence", frame->position.sequence}, {"reason", reason}});
      const pg::Params letter(origin.producer, static_cast<std::int64_t>(origin.epoch),
                              static_cast<std::int64_t>(frame->position.sequence), frame->id,
                              static_cast<std::int16_t>(frame->kind), reason, as_bytes(frame->payload));
      CITADEL_CO_TRY(co_await transaction.execute(insert_dead_letter, letter, deadline));
    }
    co_return Result<void>();
  }

  // Days whose partition was committed.
  std::set<std::chrono::sys_days> days_;
  Dictionary tenants_{insert_tenants, select_tenants};
  Dictionary models_{insert_models, select_models};
  // Whether the batch under way relies on something that an earlier batch made.
  bool from_memory_ = false;
  // Whether all that is remembered was made anew, and nothing was written since.
  bool made_anew_ = false;
};

}  // namespace

std::unique_ptr<drain::Sink> make_usage_sink() {
  return std::make_unique<UsageSink>();
}

}  // namespace citadel::usage
