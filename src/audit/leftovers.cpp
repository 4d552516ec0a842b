#include "audit/leftovers.hpp"

#include "journal/journal.hpp"

namespace citadel::audit {
namespace {

// Of one page: as many rows as a call may rotate, and none more once it has as many bytes as this.
constexpr std::int64_t page_rows = 1'000;
constexpr std::int64_t page_bytes = 4 << 20;
// How long before its commit a letter may have been inserted: far longer than any drain waits for a batch.
constexpr auto commit_time_max = std::chrono::hours(1);

constexpr pg::Statement select_letters{
    "audit dead letters read",
    "select producer, epoch, sequence, id, payload from (select *, sum(octet_length(payload)) over "
    "(order by producer, epoch, sequence) - octet_length(payload) as before from citadel.dead_letter "
    "where kind = $1 and (producer, epoch, sequence) > ($2, $3, $4) and received_at >= "
    "coalesce($7::timestamptz, "
    "'-infinity') order by producer, epoch, sequence limit $5) d where before < $6 "
    "order by producer, epoch, sequence"};
constexpr pg::Statement select_conflicts{
    "audit conflicts read",
    "select idx, id, record from (select *, sum(octet_length(record)) over (order by idx) - "
    "octet_length(record) as before from audit.conflict where idx > $1 order by idx limit $2) c "
    "where before < $3 order by idx"};
constexpr pg::Statement select_now{"audit dead letters now", "select clock_timestamp()"};
constexpr pg::Statement rewrap_letters{"audit dead letters rotate",
                                       "select audit.rewrap_dead_letters($1, $2, $3, $4, $5, $6, $7)"};
constexpr pg::Statement rewrap_conflicts{"audit conflicts rotate",
                                         "select audit.rewrap_conflicts($1, $2, $3, $4, $5)"};

struct Place {
  Uuid producer{};
  std::int64_t epoch = -1, sequence = -1;
};

Task<Result<pg::Rows>> read_letters(pg::Transaction& transaction, const Place& after,
                                    std::optional<WallTime> since, Deadline deadline) {
  const pg::Params params(static_cast<std::int16_t>(journal::Kind::audit_event), after.producer, after.epoch,
                          after.sequence, page_rows, page_bytes, since);
  co_return co_await transaction.execute(select_letters, params, deadline);
}

Place place_of(const pg::Row& row) {
  return {row.get<Uuid>(0), row.get<std::int64_t>(1), row.get<std::int64_t>(2)};
}

void add(LetterPlaces& places, const Place& place) {
  places.producers.push_back(place.producer);
  places.epochs.push_back(place.epoch);
  places.sequences.push_back(place.sequence);
}

// Rows of one page that change: their wrapped keys as they were, and as they are to be.
struct Changes {
  std::vector<std::string> before, after;
  std::uint64_t unopened = 0;

  // Whether the row's key is to be wrapped by the newest.
  bool take(const Uuid& id, Bytes stored, const AuditKeys& keys) {
    auto record = decode_record(id, as_text(stored));
    if (record && record->wrapped_key.empty()) return false;
    for (std::size_t i = 0; record && i < keys.journal.size(); ++i) {
      auto wrapped = rewrap_key(record->wrapped_key, keys.journal[i], keys.journal.front(), id);
      if (!wrapped) continue;
      if (i == 0) return false;
      before.push_back(std::move(record->wrapped_key));
      after.push_back(*std::move(wrapped));
      return true;
    }
    ++unopened;
    return false;
  }
};

std::vector<Bytes> bytes_of_all(const std::vector<std::string>& texts) {
  std::vector<Bytes> out;
  for (const auto& text : texts) out.push_back(as_bytes(text));
  return out;
}

struct Page {
  std::uint64_t changed = 0, unopened = 0;
  bool last = false;
};

Task<Result<Page>> rotate_conflicts(pg::Transaction& transaction, const AuditKeys& keys, std::int64_t& after,
                                    const Caller& caller, Deadline deadline) {
  CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
  CITADEL_CO_ASSIGN(
      const pg::Rows rows,
      co_await transaction.execute(select_conflicts, pg::Params(after, page_rows, page_bytes), deadline));
  Changes changes;
  std::vector<std::int64_t> indexes;
  auto last = after;
  for (const pg::Row row : rows) {
    last = row.get<std::int64_t>(0);
    if (changes.take(row.get<Uuid>(1), row.get<Bytes>(2), keys)) indexes.push_back(last);
  }
  Page page{.changed = 0, .unopened = changes.unopened, .last = rows.empty()};
  if (!indexes.empty()) {
    const pg::Params params(indexes, bytes_of_all(changes.before), bytes_of_all(changes.after),
                            as_bytes(keys.newest_id), caller.text());
    CITADEL_CO_ASSIGN(const pg::Rows done, co_await transaction.execute(rewrap_conflicts, params, deadline));
    page.changed = static_cast<std::uint64_t>(done[0].get<std::int64_t>(0));
  }
  after = last;
  co_return page;
}

Task<Result<Page>> rotate_letters(pg::Transaction& transaction, const AuditKeys& keys, Place& after,
                                  const Caller& caller, Deadline deadline) {
  CITADEL_CO_TRY(co_await act_for(transaction, caller, deadline));
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await read_letters(transaction, after, {}, deadline));
  Changes changes;
  LetterPlaces places;
  auto last = after;
  for (const pg::Row row : rows) {
    last = place_of(row);
    if (changes.take(row.get<Uuid>(3), row.get<Bytes>(4), keys)) add(places, last);
  }
  Page page{.changed = 0, .unopened = changes.unopened, .last = rows.empty()};
  if (!places.producers.empty()) {
    const pg::Params params(places.producers, places.epochs, places.sequences, bytes_of_all(changes.before),
                            bytes_of_all(changes.after), as_bytes(keys.newest_id), caller.text());
    CITADEL_CO_ASSIGN(const pg::Rows done, co_await transaction.execute(rewrap_letters, params, deadline));
    page.changed = static_cast<std::uint64_t>(done[0].get<std::int64_t>(0));
  }
  after = last;
  co_return page;
}

// Page by page; `rotate` is given the place to go on from, which moves only with the commit.
template <class At, class Rotate>
Task<Result<void>> rotate_all(store::Database& database, At at, std::uint64_t& changed,
                              std::uint64_t& unopened, Deadline deadline, Rotate rotate) {
  for (bool last = false; !last;) {
    At next = at;
    CITADEL_CO_ASSIGN(const Page page, co_await database.transact<Page>(deadline, store::Intent::write,
                                                                        {.name = "audit leftovers rotate"},
                                                                        [&](pg::Transaction& transaction) {
                                                                          next = at;
                                                                          return rotate(transaction, next);
                                                                        }));
    at = next;
    changed += page.changed;
    unopened += page.unopened;
    last = page.last;
  }
  co_return Result<void>();
}

}  // namespace

void LetterPlaces::append(const LetterPlaces& others) {
  producers.insert(producers.end(), others.producers.begin(), others.producers.end());
  epochs.insert(epochs.end(), others.epochs.begin(), others.epochs.end());
  sequences.insert(sequences.end(), others.sequences.begin(), others.sequences.end());
}

Task<Result<LetterPlaces>> letters_of_subject(pg::Transaction& transaction, std::string_view tenant,
                                              std::string_view subject, std::optional<WallTime> since,
                                              Deadline deadline) {
  LetterPlaces found;
  for (Place after;;) {
    CITADEL_CO_ASSIGN(const pg::Rows rows, co_await read_letters(transaction, after, since, deadline));
    if (rows.empty()) co_return found;
    for (const pg::Row row : rows) {
      after = place_of(row);
      const auto record = decode_record(row.get<Uuid>(3), as_text(row.get<Bytes>(4)));
      if (record && record->tenant == tenant && record->subject == subject) add(found, after);
    }
  }
}

Task<Result<WallTime>> all_visible_before(pg::Transaction& transaction, Deadline deadline) {
  CITADEL_CO_ASSIGN(const pg::Rows rows, co_await transaction.execute(select_now, {}, deadline));
  co_return rows[0].get<WallTime>(0) - commit_time_max;
}

Task<Result<LeftoverRotation>> rotate_leftovers(store::Database& database,
                                                std::shared_ptr<const AuditKeys> keys, Caller caller,
                                                Deadline deadline) {
  LeftoverRotation out;
  CITADEL_CO_TRY(co_await rotate_all(database, std::int64_t{-1}, out.conflicts, out.unopened, deadline,
                                     [&](pg::Transaction& transaction, std::int64_t& at) {
                                       return rotate_conflicts(transaction, *keys, at, caller, deadline);
                                     }));
  CITADEL_CO_TRY(co_await rotate_all(database, Place{}, out.dead_letters, out.unopened, deadline,
                                     [&](pg::Transaction& transaction, Place& at) {
                                       return rotate_letters(transaction, *keys, at, caller, deadline);
                                     }));
  co_return out;
}

}  // namespace citadel::audit
