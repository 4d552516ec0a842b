// citadel import: sends a trace of requests (the CSV of the Azure LLM inference trace 2023) through the HTTP
// API.
//
// Each row's id is made from the file's content, the model and the row's number, so a row that is sent twice
// is stored once. How far it came is kept in a state file, so a second call goes on where the first one
// ended. The file also says of which trace, and which journal has acknowledged it: another instance at the
// same address has none of the rows, and gets them all.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <thread>

#include "base/file.hpp"
#include "base/random.hpp"
#include "base/time_text.hpp"
#include "base/uuid.hpp"
#include "cli/api_client.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/json_text.hpp"
#include "cli/state_folder.hpp"
#include "cli/table.hpp"
#include "crypto/sha256.hpp"
#include "json/parse.hpp"
#include "resilience/backoff.hpp"

namespace citadel::cli {
namespace {

constexpr std::size_t file_bytes_max = 1 << 30;
constexpr std::size_t batch_rows_max = 500;
constexpr std::size_t progress_rows = 10'000;  // a line each, where progress is not shown in place
constexpr std::size_t state_bytes_max = 256;
constexpr std::string_view heading = "TIMESTAMP,ContextTokens,GeneratedTokens";

struct ImportOptions {
  std::string file, model, rate = "max", state;
  std::chrono::seconds patience{300};  // how long one batch is tried while the daemon does not take it
  bool again = false;
};

struct TraceRow {
  WallTime at;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
};

std::unexpected<Error> bad_line(std::size_t line, std::string_view what) {
  return fail(Code::invalid_argument, fmt::format("line {}: {}", line, what));
}

std::optional<std::int64_t> parse_count(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Result<TraceRow> parse_row(std::string_view text, std::size_t line) {
  const auto first = text.find(',');
  const auto second = first == std::string_view::npos ? first : text.find(',', first + 1);
  if (second == std::string_view::npos || text.find(',', second + 1) != std::string_view::npos) {
    return bad_line(line, "has not three fields");
  }
  TraceRow row;
  const auto at = parse_time(std::string(text.substr(0, first)) + "Z");
  if (!at) return bad_line(line, "TIMESTAMP is not a time like 2023-11-16 18:17:03.9799600");
  row.at = *at;
  const auto prompt = parse_count(text.substr(first + 1, second - first - 1));
  const auto completion = parse_count(text.substr(second + 1));
  if (!prompt) return bad_line(line, "ContextTokens is not a whole number of 0 or more");
  if (!completion) return bad_line(line, "GeneratedTokens is not a whole number of 0 or more");
  row.prompt_tokens = *prompt;
  row.completion_tokens = *completion;
  return row;
}

// All rows, or the first line that is wrong: nothing is sent from a file with a fault.
Result<std::vector<TraceRow>> parse_trace(std::string_view text) {
  std::vector<TraceRow> rows;
  std::size_t line = 0;
  while (!text.empty()) {
    ++line;
    const auto end = text.find('\n');
    auto content = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (content.ends_with('\r')) content.remove_suffix(1);
    if (line == 1) {
      if (content != heading) return bad_line(1, fmt::format("the heading must be {}", heading));
      continue;
    }
    if (content.empty()) continue;
    CITADEL_ASSIGN(rows.emplace_back(), parse_row(content, line));
  }
  return rows;
}

// "max", "real", or how many times faster than real: "10x".
Result<double> parse_rate(std::string_view text) {
  if (text == "max") return 0.0;
  if (text == "real") return 1.0;
  double factor = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), factor);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (error == std::errc() && factor > 0 && factor <= 1e6 && (rest == "x" || rest == "×")) return factor;
  return fail(Code::invalid_argument,
              fmt::format("--rate '{}' is not max, real, or a factor up to 1000000 like 10x", text));
}

class Import {
 public:
  Import(const Context& context, ApiClient client, const ImportOptions& options, std::vector<TraceRow> rows,
         std::string digest)
      : context_(context),
        client_(std::move(client)),
        options_(options),
        rows_(std::move(rows)),
        digest_(std::move(digest)) {}

  Result<void> run(double rate);
  std::size_t sent() const { return next_ - resumed_at_; }
  std::size_t resumed_at() const { return resumed_at_; }
  std::size_t total() const { return rows_.size(); }
  const std::vector<TraceRow>& rows() const { return rows_; }

 private:
  std::filesystem::path state_file() const;
  Result<void> ask_instance();
  void read_state();
  // What follows the number of rows in the state file.
  std::string state_of_whom() const { return fmt::format("\ninstance {}\ntrace {}\n", instance_, digest_); }
  Result<void> write_state() const;
  std::string encode(std::size_t from, std::size_t to) const;
  Result<http::ClientResponse> call(http::Method method, const std::string& target, const std::string& body);
  void show_progress() const;

  const Context& context_;
  ApiClient client_;
  const ImportOptions& options_;
  std::vector<TraceRow> rows_;
  std::string digest_;    // hexadecimal, of file and model
  std::string instance_;  // the id of the journal that acknowledges
  std::size_t next_ = 0, resumed_at_ = 0;
};

// Empty where nobody says where.
std::filesystem::path Import::state_file() const {
  if (!options_.state.empty()) return options_.state;
  const auto folder = state_folder();
  if (!folder) return {};
  // One an address, so that two instances do not push each other's aside.
  const auto where = to_hex(crypto::sha256(as_bytes(context_.url))).substr(0, 8);
  return *folder / fmt::format("import-{}-{}", digest_.substr(0, 16), where);
}

void Import::read_state() {
  if (options_.again) return;
  const auto text = read_file(state_file(), state_bytes_max);
  if (!text) return;
  const auto end = text->find('\n');
  if (end == std::string::npos || text->substr(end) != state_of_whom()) return;
  const auto done = parse_count(text->substr(0, end));
  if (done && static_cast<std::size_t>(*done) <= rows_.size()) next_ = static_cast<std::size_t>(*done);
}

Result<void> Import::write_state() const {
  const auto file = state_file();
  std::error_code ignored;  // shows in the write, with the name
  std::filesystem::create_directories(file.parent_path(), ignored);
  return write_file_durably(file, fmt::format("{}{}", next_, state_of_whom()), 0600);
}

std::string Import::encode(std::size_t from, std::size_t to) const {
  std::string body;
  for (std::size_t i = from; i < to; ++i) {
    const auto& row = rows_[i];
    const auto hash = crypto::sha256(as_bytes(fmt::format("{}:{}", digest_, i)));
    const auto id = make_uuid7(std::chrono::floor<std::chrono::milliseconds>(row.at),
                               load_be<std::uint16_t>(hash.data()), load_be<std::uint64_t>(hash.data() + 2));
    body +=
        fmt::format(R"({{"id":"{}","started_at":"{}","model":{},"prompt_tokens":{},"completion_tokens":{}}})",
                    id.to_string(), format_time(row.at), json_string(options_.model), row.prompt_tokens,
                    row.completion_tokens);
    body += '\n';
  }
  return body;
}

// Until the daemon has done it: a daemon that is away or full is asked again, a refusal is final.
Result<http::ClientResponse> Import::call(http::Method method, const std::string& target,
                                          const std::string& body) {
  SeededRandom random(random_seed());
  resilience::Backoff backoff({}, random);
  const auto give_up = Deadline::after(options_.patience);
  for (bool told = false;;) {
    auto response = client_.call(method, target, body, Deadline::after(std::chrono::seconds(60)),
                                 {{"Content-Type", "application/x-ndjson"}});
    if (response && response->status < 300) return response;
    const Error error = response ? client_.refusal(*response) : std::move(response).error();
    const bool may_pass = error.code == Code::unavailable || error.code == Code::connection_lost ||
                          error.code == Code::deadline_exceeded || error.code == Code::storage_full ||
                          error.code == Code::overloaded || error.code == Code::cancelled;
    if (!may_pass || give_up.expired()) return std::unexpected(error);
    if (!std::exchange(told, true)) {
      *context_.err << fmt::format(
          "\nthe daemon does not answer as it should ({}); trying again for up to {} s\n", error.message,
          options_.patience.count());
    }
    std::this_thread::sleep_until(Monotonic::now() + backoff.next());  // sleep: the backoff between two tries
  }
}

Result<void> Import::ask_instance() {
  CITADEL_ASSIGN(const auto response, call(http::Method::get, "/v1/status", ""));
  CITADEL_ASSIGN(const auto status, json::parse(response.body, {}));
  boost::system::error_code missing;
  const auto* const producer = status.find_pointer("/journal/producer", missing);
  if (producer == nullptr || !producer->is_string()) {
    return fail(Code::unsupported, "the daemon's /v1/status does not name its journal: is it Citadel?");
  }
  instance_ = producer->get_string();
  return {};
}

void Import::show_progress() const {
  context_.update(fmt::format("{} of {} rows", format_count(static_cast<std::int64_t>(next_)),
                              format_count(static_cast<std::int64_t>(rows_.size()))));
}

Result<void> Import::run(double rate) {
  if (state_file().empty()) {
    return fail(
        Code::invalid_argument,
        "neither HOME nor XDG_STATE_HOME is set: say with --state in which file to keep how far it came");
  }
  CITADEL_TRY(ask_instance());
  read_state();
  resumed_at_ = next_;
  const auto begun = Monotonic::now();
  const auto trace_begun = next_ < rows_.size() ? rows_[next_].at : WallTime();
  while (next_ < rows_.size()) {
    std::size_t to = std::min(next_ + batch_rows_max, rows_.size());
    if (rate > 0) {
      // What is due by now; at least the next row, once its time has come.
      const auto due = [&](std::size_t i) {
        return begun + std::chrono::duration_cast<Monotonic::duration>((rows_[i].at - trace_begun) / rate);
      };
      std::this_thread::sleep_until(due(next_));  // sleep: the rate that was asked for
      const auto now = Monotonic::now();
      std::size_t last = next_ + 1;
      while (last < to && due(last) <= now) ++last;
      to = last;
    }
    CITADEL_TRY(call(http::Method::post, "/v1/requests", encode(next_, to)));
    const bool is_due = to / progress_rows != next_ / progress_rows || to == rows_.size();
    next_ = to;
    CITADEL_TRY(write_state());
    if (context_.err_is_terminal || is_due) show_progress();
  }
  context_.end_update();
  return {};
}

int run_import(const Context& context, const ImportOptions& options) {
  const auto rate = parse_rate(options.rate);
  if (!rate) return context.report(rate.error());
  auto text = read_file(options.file, file_bytes_max);
  if (!text) return context.report(text.error());
  auto rows = parse_trace(*text);
  if (!rows) return context.report(rows.error().in(options.file));
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto digest = to_hex(crypto::sha256(as_bytes(*text + '\0' + options.model)));
  text->clear();
  Import import(context, *std::move(client), options, *std::move(rows), digest);
  const auto done = import.run(*rate);
  if (!done) {
    *context.err << fmt::format("\n{} rows were acknowledged; call it again to go on\n", import.sent());
    return context.report(done.error());
  }
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
  for (const auto& row : import.rows()) {
    prompt += row.prompt_tokens;
    completion += row.completion_tokens;
  }
  if (context.json) {
    *context.out << fmt::format(
        R"({{"rows":{},"sent":{},"resumed_at":{},"prompt_tokens":{},"completion_tokens":{}}})"
        "\n",
        import.total(), import.sent(), import.resumed_at(), prompt, completion);
    return exit_good;
  }
  *context.out << fmt::format(
      "{} rows in the file, {} sent now, {} before; {} prompt and {} completion tokens\n",
      format_count(static_cast<std::int64_t>(import.total())),
      format_count(static_cast<std::int64_t>(import.sent())),
      format_count(static_cast<std::int64_t>(import.resumed_at())), format_count(prompt),
      format_count(completion));
  if (import.sent() == 0)
    *context.out << "all rows were sent by an earlier call; --again sends them once more\n";
  return exit_good;
}

}  // namespace

void add_import_command(Command app, Context& context) {
  const auto import = app.add_subcommand("import", "Send a trace of requests (CSV) through the API");
  const auto options = std::make_shared<ImportOptions>();
  import.add_option("file", options->file, "CSV with TIMESTAMP,ContextTokens,GeneratedTokens")
      .required()
      .existing_file();
  import.add_option("--model", options->model, "The model that served the requests").required();
  import.add_option("--rate", options->rate, "max, real, or a factor like 10x").show_default();
  import.add_option("--state", options->state, "Where to keep how far it came");
  import.add_option("--patience", options->patience, "Seconds to try again while the daemon is away")
      .show_default();
  import.add_flag("--again", options->again, "Send every row, also those that were acknowledged before");
  import.callback([&context, options] { context.exit_code = run_import(context, *options); });
}

}  // namespace citadel::cli
