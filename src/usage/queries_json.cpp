#include "base/time_text.hpp"
#include "json/writer.hpp"
#include "usage/queries.hpp"
#include "usage/record_json.hpp"

namespace citadel::usage {
namespace {

// {"count": 3, "mean_ms": 1.5, "max_ms": 2}; null where no record has it.
void write_duration(json::Writer& out, std::string_view name, const DurationSums& sums) {
  out.key(name);
  if (sums.count == 0) {
    out.null();
    return;
  }
  out.begin_object().key("count").integer(sums.count);
  out.key("mean_ms").number(static_cast<double>(sums.sum) / static_cast<double>(sums.count) / 1000);
  out.key("max_ms").number(static_cast<double>(sums.max) / 1000).end_object();
}

void write_sums(json::Writer& out, const Sums& sums) {
  out.key("requests").integer(sums.requests).key("errors").integer(sums.errors);
  out.key("prompt_tokens")
      .integer(sums.prompt_tokens)
      .key("completion_tokens")
      .integer(sums.completion_tokens);
  out.key("cost_nano").integer(sums.cost_nano);
  write_duration(out, "latency", sums.latency);
  write_duration(out, "ttft", sums.ttft);
  write_duration(out, "queue", sums.queue);
}

}  // namespace

std::string to_json(const RequestRecord& record) {
  json::Writer out;
  write_record(out, record);
  return out.take();
}

std::string to_json(const RequestPage& page) {
  json::Writer out;
  out.begin_object().key("requests").begin_array();
  for (const RequestRecord& record : page.requests) write_record(out, record);
  out.end_array().key("next_cursor");
  if (page.next_cursor) {
    out.text(*page.next_cursor);
  } else {
    out.null();
  }
  return out.end_object().take();
}

std::string to_json(const UsageReport& report) {
  json::Writer out;
  const UsageQuery& query = report.query;
  out.begin_object().key("from").text(format_time(query.from)).key("to").text(format_time(query.to));
  out.key("bucket").text(to_string(query.bucket)).key("group_by");
  if (query.group_by == GroupBy::none) {
    out.null();
  } else {
    out.text(to_string(query.group_by));
  }
  out.key("complete").boolean(report.complete);
  // Sums only grow, so the totals have what any row has.
  if (report.totals.saturated()) out.key("saturated").boolean(true);
  out.key("buckets").begin_array();
  for (const UsageRow& row : report.rows) {
    out.begin_object().key("start").text(format_time(row.start));
    if (query.group_by != GroupBy::none) out.key(to_string(query.group_by)).text(row.group);
    write_sums(out, row.sums);
    out.end_object();
  }
  out.end_array().key("totals").begin_object();
  write_sums(out, report.totals);
  return out.end_object().end_object().take();
}

}  // namespace citadel::usage
