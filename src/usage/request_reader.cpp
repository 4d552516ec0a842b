#include "usage/request_reader.hpp"

#include "usage/months.hpp"
#include "usage/queries.hpp"
#include "usage/record_row.hpp"

namespace citadel::usage {
namespace {

void add(store::PointReaderStatus& sum, const store::PointReaderStatus& part) {
  sum.reads_total += part.reads_total;
  sum.queries_total += part.queries_total;
  sum.refused_total += part.refused_total;
  sum.waiting += part.waiting;
  sum.in_flight += part.in_flight;
}

}  // namespace

struct RequestReader::Month {
  Month(store::Database& database, aio::Gate& gate, const IdRange& range)
      : sql("select " CITADEL_USAGE_COLUMNS "where r.id = any($1)" + bounds_sql("r.id", range)),
        statement{"usage requests", sql},
        reader(database, gate, statement, limits, [](const pg::Row& row) {
          auto record = read_record(row);
          return std::pair(record.id, std::move(record));
        }) {}

  const std::string sql;
  const pg::Statement statement;
  store::PointReader<Uuid, RequestRecord> reader;
};

RequestReader::RequestReader(store::Database& database, aio::Gate& gate) : database_(database), gate_(gate) {}
RequestReader::~RequestReader() = default;

Task<Result<RequestRecord>> RequestReader::read(Uuid id, Deadline deadline) {
  // An id of no time that a query may ask for is nobody's, and has no month.
  if (id.time() >= usage_time_end) co_return no_such_request(id);
  const auto month = month_of(id);
  if (!month) co_return co_await get_request(database_, id, deadline);
  CITADEL_CO_ASSIGN(auto found, co_await month->reader.read(id, deadline));
  if (!found) co_return no_such_request(id);
  co_return *std::move(found);
}

// Null where there are readers_max months, all at work.
std::shared_ptr<RequestReader::Month> RequestReader::month_of(const Uuid& id) {
  const Uuid floor = month_floor(id);
  if (const auto kept = months_.find(floor); kept != months_.end()) return kept->second;
  if (months_.size() >= readers_max) {
    std::erase_if(months_, [this](const auto& entry) {
      const auto status = entry.second->reader.status();
      // A read that has its answer may not have left it yet.
      if (status.waiting + status.in_flight > 0 || entry.second.use_count() > 1) return false;
      add(ended_, status);
      return true;
    });
  }
  if (months_.size() >= readers_max) return nullptr;
  return months_[floor] = std::make_shared<Month>(database_, gate_, IdRange{floor, next_month_floor(id)});
}

store::PointReaderStatus RequestReader::status() const {
  auto sum = ended_;
  for (const auto& [floor, month] : months_) add(sum, month->reader.status());
  return sum;
}

}  // namespace citadel::usage
