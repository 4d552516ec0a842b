// citadel audit keygen, key, accept-fork.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "app/audit_secrets.hpp"
#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/instance.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

struct KeygenOptions {
  std::string config, origin, signing, master;
};

// The files that the configuration names, where they are not there.
int run_keygen(const Context& context, const KeygenOptions& options) {
  app::ConfigSources sources{{}, context.environment, false};
  if (!options.config.empty()) sources.file = options.config;
  auto config = app::load_config(sources);
  if (!config) return context.report(config.error());
  if (!options.signing.empty()) config->audit.signing_key_file = options.signing;
  if (!options.master.empty()) config->audit.master_key_file = options.master;
  const auto made = app::make_audit_secrets(config->audit, options.origin);
  if (!made) return context.report(made.error());
  const auto secrets = app::load_audit_secrets(config->audit);
  if (!secrets) return context.report(secrets.error());
  const auto key = secrets->signer.verifier().encode();
  if (context.json) {
    json::array files;
    for (const auto& file : *made) files.emplace_back(file.string());
    *context.out << citadel::json::serialize(json::object{{"made", files}, {"key", key}}) << '\n';
    return exit_good;
  }
  for (const auto& file : *made) *context.err << fmt::format("made {}\n", file.string());
  if (made->empty()) *context.err << "both keys were there already; nothing was made\n";
  *context.out << key << '\n';
  return exit_good;
}

int run_key(const Context& context) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto keys = fetch_keys(*client);
  if (!keys) return context.report(keys.error());
  if (context.json) {
    *context.out << citadel::json::serialize(json::object{{"key", keys->substr(0, keys->find('\n'))}})
                 << '\n';
  } else {
    *context.out << *keys << '\n';
  }
  return exit_good;
}

int run_accept_fork(const Context& context, const std::string& reason) {
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto answer =
      client->post("/v1/audit/accept-fork", citadel::json::serialize(json::object{{"reason", reason}}),
                   Deadline::after(std::chrono::seconds(60)));
  if (!answer) return context.report(answer.error());
  if (context.json) {
    *context.out << citadel::json::serialize(*answer) << '\n';
  } else {
    *context.out
        << "the log goes on as the database has it; an entry says so, and the old checkpoint is kept\n";
  }
  return exit_good;
}

}  // namespace

void add_audit_key(Command audit, Context& context) {
  const auto keygen = audit.add_subcommand("keygen", "Make the signing key and the master key of a new log");
  const auto options = std::make_shared<KeygenOptions>();
  keygen.add_option("--config", options->config, "The configuration that names the files");
  keygen.add_option("--origin", options->origin,
                    "The log's name, like example.com/audit; default: a unique one");
  keygen.add_option("--signing-key", options->signing,
                    "The signing key's file, in place of audit.signing_key_file");
  keygen.add_option("--master-key", options->master,
                    "The master key's file, in place of audit.master_key_file");
  keygen.callback([&context, options] { context.exit_code = run_keygen(context, *options); });

  const auto key = audit.add_subcommand("key", "Print the verifier key of the daemon's log");
  key.callback([&context] { context.exit_code = run_key(context); });

  const auto accept =
      audit.add_subcommand("accept-fork", "Go on with a log that lost its tail, and record that");
  const auto reason = std::make_shared<std::string>();
  accept.add_option("--reason", *reason, "Why: it stands in the log for ever").required();
  accept.callback([&context, reason] { context.exit_code = run_accept_fork(context, *reason); });
}

}  // namespace citadel::cli
