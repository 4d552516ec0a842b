// citadel pool: pause and resume the daemon's connection pool, around a restart or a planned failover.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>

#include "cli/api_client.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "json/parse.hpp"

namespace citadel::cli {
namespace {

constexpr auto answer_time = std::chrono::seconds(20);

int run_pool(const Context& context, bool pause) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto answer = client->call(http::Method::post, pause ? "/v1/pool/pause" : "/v1/pool/resume", "",
                                   Deadline::after(answer_time));
  if (!answer) return context.report(answer.error());
  if (answer->status >= 400) return context.report(client->refusal(*answer));
  const auto pool = json::parse(answer->body, {});
  if (!pool) return context.report(pool.error());
  const auto open = pool->as_object().at("open").to_number<std::uint64_t>();
  if (context.json) {
    *context.out << answer->body << '\n';
  } else if (!pause) {
    *context.out << "resumed: sessions are opened anew\n";
  } else if (open == 0) {
    *context.out << "paused: no session is open; requests wait until their deadline\n";
  } else {
    *context.out << fmt::format("paused, but {} sessions are in use still; ask again\n", open);
  }
  return pause && open > 0 ? exit_check_failed : exit_good;
}

}  // namespace

void add_pool_command(Command app, Context& context) {
  const auto pool =
      app.add_subcommand("pool", "Pause and resume the connection pool, for a planned restart or failover");
  pool.require_subcommand();
  pool.add_subcommand("pause",
                      "Lend no sessions and close them all; exit code 1 where some are in use after 10 s")
      .callback([&context] { context.exit_code = run_pool(context, true); });
  pool.add_subcommand("resume", "Open sessions again and serve who waits").callback([&context] {
    context.exit_code = run_pool(context, false);
  });
}

}  // namespace citadel::cli
