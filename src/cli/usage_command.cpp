// citadel usage: what was used, by minute, hour or day.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "cli/api_client.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

struct UsageOptions {
  std::string from, to, bucket = "hour", group_by, tenant, model;
};

std::string target_of(const UsageOptions& options) {
  std::string out = "/v1/usage?bucket=" + percent_encode(options.bucket);
  const std::pair<std::string_view, const std::string*> parameters[] = {{"from", &options.from},
                                                                        {"to", &options.to},
                                                                        {"group_by", &options.group_by},
                                                                        {"tenant", &options.tenant},
                                                                        {"model", &options.model}};
  for (const auto& [name, value] : parameters) {
    if (!value->empty()) out += fmt::format("&{}={}", name, percent_encode(*value));
  }
  return out;
}

std::vector<std::string> cells(const json::object& sums, std::string first, std::string group, bool grouped) {
  std::vector<std::string> out{std::move(first)};
  if (grouped) out.push_back(std::move(group));
  for (const std::string_view name :
       {"requests", "errors", "prompt_tokens", "completion_tokens", "cost_nano"}) {
    out.push_back(format_count(sums.at(name).to_number<std::int64_t>()));
  }
  return out;
}

void print_usage(std::ostream& out, const json::object& report, const std::string& group_by) {
  const bool grouped = !group_by.empty();
  std::vector<Column> columns{{"from"}};
  if (grouped) columns.push_back({group_by});
  for (const char* name : {"requests", "errors", "prompt tokens", "completion tokens", "cost (nano)"}) {
    columns.push_back({name, Align::right});
  }
  Table table(columns);
  for (const auto& item : report.at("buckets").as_array()) {
    const auto& row = item.as_object();
    table.add(cells(row, std::string(row.at("start").as_string()),
                    grouped ? std::string(row.at(group_by).as_string()) : std::string(), grouped));
  }
  table.add(cells(report.at("totals").as_object(), "total", "", grouped));
  out << table.render();
  if (!report.at("complete").as_bool())
    out << "not complete: sums of the beginning were removed by retention\n";
}

int run_usage(const Context& context, const UsageOptions& options) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto report = client->get(target_of(options), Deadline::after(std::chrono::seconds(60)));
  if (!report) return context.report(report.error());
  if (context.json) {
    *context.out << citadel::json::serialize(*report) << '\n';
  } else {
    print_usage(*context.out, report->as_object(), options.group_by);
  }
  return exit_good;
}

}  // namespace

void add_usage_command(Command app, Context& context) {
  const auto usage = app.add_subcommand("usage", "Show requests, tokens and cost by minute, hour or day");
  const auto options = std::make_shared<UsageOptions>();
  usage.add_option(
      "--from", options->from,
      "The first moment: a day (its midnight UTC) or an RFC 3339 time; default: 24 hours before --to");
  usage.add_option("--to", options->to,
                   "The first moment that is outside: a day or an RFC 3339 time; default: now");
  usage.add_option("--bucket", options->bucket, "minute, hour or day").show_default();
  usage.add_option("--group-by", options->group_by, "model or tenant");
  usage.add_option("--tenant", options->tenant, "Only this tenant");
  usage.add_option("--model", options->model, "Only this model");
  usage.callback([&context, options] { context.exit_code = run_usage(context, *options); });
}

}  // namespace citadel::cli
