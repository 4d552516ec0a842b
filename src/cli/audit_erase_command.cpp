// citadel audit erase, certificate, check-certificate: a subject's content destroyed, and a document that
// shows it to whoever has the log's public key.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "app/erasure_certificate.hpp"
#include "base/file.hpp"
#include "cli/audit_commands.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto act_time = std::chrono::seconds(60);
constexpr std::size_t file_bytes_max = 4 << 20;
constexpr mode_t file_mode = 0644;

struct EraseOptions {
  std::string subject, tenant, reason, file, id, key;
};

// Into the file, or as it is. `otherwise` is said where the file cannot be written.
int give_certificate(const Context& context, const json::value& certificate, const std::string& file,
                     std::string_view otherwise = {}) {
  const auto text = citadel::json::serialize(certificate) + "\n";
  const auto note = text_at(certificate, "/note");
  if (!note.empty()) *context.err << note << '\n';
  if (!file.empty() && file != "-") {
    auto written = write_file_durably(file, text, file_mode);
    if (!written) {
      written.error().message += otherwise;
      return context.report(written.error());
    }
  }
  if (file.empty() || file == "-" || context.json) {
    *context.out << text;
    return exit_good;
  }
  *context.out << fmt::format("{}: {} events of the subject were erased, and {} keys destroyed\n", file,
                              text_at(certificate, "/destroyed/events"),
                              text_at(certificate, "/destroyed/keys"));
  return exit_good;
}

int run_erase(const Context& context, const EraseOptions& options) {
  // What is destroyed stays so: what would stand in the way of its certificate is asked first.
  if (const auto writable = check_out_file(options.file); !writable) return context.report(writable.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  json::object body{{"subject", options.subject}, {"reason", options.reason}};
  if (!options.tenant.empty()) body["tenant"] = options.tenant;
  const auto certificate =
      client->post("/v1/audit/erasures", citadel::json::serialize(body), Deadline::after(act_time));
  if (!certificate) return context.report(certificate.error());
  return give_certificate(
      context, *certificate, options.file,
      fmt::format("; the erasure was done, and `citadel audit certificate {} -o {}` gets its certificate",
                  text_at(*certificate, "/erasure"), options.file));
}

int run_certificate(const Context& context, const EraseOptions& options) {
  if (const auto writable = check_out_file(options.file); !writable) return context.report(writable.error());
  auto client = ApiClient::open(context);
  if (!client) return context.report(client.error());
  const auto certificate = client->get(fmt::format("/v1/audit/erasures/{}", percent_encode(options.id)),
                                       Deadline::after(act_time));
  if (!certificate) return context.report(certificate.error());
  return give_certificate(context, *certificate, options.file);
}

int run_check(const Context& context, const EraseOptions& options) {
  const auto policy = choose_policy(context, nullptr, options.key);
  if (!policy) return context.report(policy.error());
  const auto text = read_named_file("FILE", options.file, file_bytes_max);
  if (!text) return context.report(text.error());
  const auto subject = options.subject.empty() ? std::nullopt : std::optional(options.subject);
  const auto checked = app::check_erasure_certificate(*text, *policy, subject);
  if (!checked) return context.report(Error(checked.error()).in(options.file));
  if (context.json) {
    *context.out << citadel::json::serialize(json::object{{"passed", true},
                                                          {"origin", checked->origin},
                                                          {"index", checked->index},
                                                          {"size", checked->size},
                                                          {"erasure", checked->erasure},
                                                          {"subject_sha256", checked->subject_sha256},
                                                          {"keys", checked->keys},
                                                          {"events", checked->events},
                                                          {"groups", checked->groups},
                                                          {"conflicts", checked->conflicts},
                                                          {"dead_letters", checked->dead_letters}})
                 << '\n';
    return exit_good;
  }
  *context.out << fmt::format(
      "good: entry {} of {}, in the signed log of {} entries, says:\n  of the subject with SHA-256 {} "
      "(tenant {})\n"
      "  {} keys, the contents of {} events with {} groups, {} conflicting events and {} dead letters were "
      "destroyed\n  at {}, because: {}\n",
      checked->index, checked->origin, checked->size, checked->subject_sha256, checked->tenant, checked->keys,
      checked->events, checked->groups, checked->conflicts, checked->dead_letters, checked->at,
      checked->reason);
  return exit_good;
}

}  // namespace

void add_audit_erase(Command audit, Context& context) {
  const auto options = std::make_shared<EraseOptions>();
  const auto erase = audit.add_subcommand("erase", "Destroy the contents of all events of a subject");
  erase.add_option("--subject", options->subject, "Whose").required();
  erase.add_option("--tenant", options->tenant, "Of which tenant; default: default");
  erase.add_option("--reason", options->reason, "Why: it stands in the log and in the certificate")
      .required();
  erase.add_option("--out,-o", options->file, "The certificate's file; default: standard output");
  erase.callback([&context, options] { context.exit_code = run_erase(context, *options); });

  const auto certificate = audit.add_subcommand("certificate", "Get the certificate of an erasure again");
  certificate.add_option("ID", options->id, "The erasure's id").required();
  certificate.add_option("--out,-o", options->file, "The file; default: standard output");
  certificate.callback([&context, options] { context.exit_code = run_certificate(context, *options); });

  const auto check = audit.add_subcommand("check-certificate", "Check a certificate, without the daemon");
  check.add_option("FILE", options->file, "What `audit erase` wrote").required();
  check.add_option("--key", options->key, "The log's verifier key, or a file of them");
  check.add_option("--subject", options->subject, "Check that it is of this subject, too");
  check.callback([&context, options] { context.exit_code = run_check(context, *options); });
}

}  // namespace citadel::cli
