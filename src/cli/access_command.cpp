// citadel key, principal, tenant: who may call the API. A new key is printed once, or written to a file of
// its own; it is never an argument.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "access/role.hpp"
#include "base/file.hpp"
#include "cli/api_client.hpp"
#include "cli/audit_support.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "json/serialize.hpp"

namespace citadel::cli {
namespace {

namespace json = boost::json;

constexpr auto answer_time = std::chrono::seconds(20);

constexpr auto not_given = std::chrono::seconds::min();

struct AccessOptions {
  std::string tenant, name, role, principal, id;
  std::filesystem::path out;
  std::chrono::seconds valid = not_given, overlap{3600};
};
using OptionsPtr = std::shared_ptr<AccessOptions>;

// The members that were given, and the tenant where one was.
json::object body_of(const AccessOptions& options, json::object body = {}) {
  if (!options.tenant.empty()) body["tenant"] = options.tenant;
  return body;
}

std::string list_target(std::string_view path, const AccessOptions& options) {
  return options.tenant.empty() ? std::string(path)
                                : fmt::format("{}?tenant={}", path, percent_encode(options.tenant));
}

int print_json(const Context& context, const json::value& value) {
  *context.out << citadel::json::serialize(value) << '\n';
  return exit_good;
}

Result<json::value> post(const Context& context, std::string target, const json::object& body) {
  CITADEL_ASSIGN(auto client, ApiClient::open(context));
  return client.post(std::move(target), citadel::json::serialize(body), Deadline::after(answer_time));
}

Result<json::value> get(const Context& context, std::string target) {
  CITADEL_ASSIGN(auto client, ApiClient::open(context));
  return client.get(std::move(target), Deadline::after(answer_time));
}

// A line of each column's member; `none` where there is no row.
int print_list(const Context& context, const Result<json::value>& answer, std::string_view member,
               std::vector<std::string> columns, std::string_view none) {
  if (!answer) return context.report(answer.error());
  if (context.json) return print_json(context, *answer);
  std::vector<Column> headings;
  for (auto heading : columns) {
    std::ranges::replace(heading, '_', ' ');
    headings.push_back({heading});
  }
  Table table(std::move(headings));
  for (const auto& row : answer->at(member).as_array()) {
    std::vector<std::string> cells;
    for (const auto& column : columns) {
      const auto* const value = row.get_object().if_contains(column);
      if (value && value->is_bool()) {
        cells.emplace_back(value->get_bool() ? "yes" : "no");
      } else {
        cells.push_back(text_at(row, fmt::format("/{}", column)));
      }
    }
    table.add(std::move(cells));
  }
  *context.out << (table.empty() ? std::string(none) : table.render());
  return exit_good;
}

// ---- tenants and principals

int run_tenant_create(const Context& context, const AccessOptions& options) {
  const auto made = post(context, "/v1/tenants", {{"name", options.name}});
  if (!made) return context.report(made.error());
  if (context.json) return print_json(context, *made);
  *context.out << fmt::format("tenant {}\n", text_at(*made, "/name"));
  return exit_good;
}

int run_principal_create(const Context& context, const AccessOptions& options) {
  const auto made =
      post(context, "/v1/principals", body_of(options, {{"name", options.name}, {"role", options.role}}));
  if (!made) return context.report(made.error());
  if (context.json) return print_json(context, *made);
  *context.out << fmt::format("principal {}/{}, {}\n", text_at(*made, "/tenant"), text_at(*made, "/name"),
                              text_at(*made, "/role"));
  return exit_good;
}

int run_principal_set(const Context& context, const AccessOptions& options, std::string_view action) {
  const auto changed = post(
      context, fmt::format("/v1/principals/{}/{}", percent_encode(options.name), action), body_of(options));
  if (!changed) return context.report(changed.error());
  if (context.json) return print_json(context, *changed);
  *context.out << fmt::format("{}d: principal {}/{}\n", action, text_at(*changed, "/tenant"),
                              text_at(*changed, "/name"));
  return exit_good;
}

// ---- keys

// The key itself is on standard output alone, or in the file; what is said of it is on standard error.
int give_key(const Context& context, const AccessOptions& options, const Result<json::value>& made) {
  if (!made) return context.report(made.error());
  const auto key = text_at(*made, "/key");
  if (!options.out.empty()) {
    if (auto written = write_file_durably(options.out, key + "\n", 0600); !written)
      return context.report(std::move(written).error().in(fmt::format(
          "key {0} was made and its secret is lost: `citadel key revoke {0}`", text_at(*made, "/id"))));
  }
  if (context.json) {
    auto shown = made->as_object();
    if (!options.out.empty()) shown.erase("key");
    return print_json(context, shown);
  }
  const auto until = text_at(*made, "/expires_at");
  context.progress(fmt::format("key {} of {}/{}{}; it is shown once\n", text_at(*made, "/id"),
                               text_at(*made, "/tenant"), text_at(*made, "/principal"),
                               until.empty() ? std::string() : fmt::format(", valid until {}", until)));
  if (options.out.empty()) *context.out << key << '\n';
  return exit_good;
}

Result<void> check_key_file(const std::filesystem::path& file) {
  if (file == "-")
    return fail(Code::invalid_argument, "--out: is a file's name; without it the key is printed");
  return check_out_file(file);
}

int run_key_create(const Context& context, const AccessOptions& options) {
  if (const auto writable = check_key_file(options.out); !writable) return context.report(writable.error());
  auto body = body_of(options, {{"principal", options.principal}});
  if (options.valid != not_given) body["valid_seconds"] = options.valid.count();
  return give_key(context, options, post(context, "/v1/keys", body));
}

int run_key_rotate(const Context& context, const AccessOptions& options) {
  if (const auto writable = check_key_file(options.out); !writable) return context.report(writable.error());
  return give_key(context, options,
                  post(context, fmt::format("/v1/keys/{}/rotate", percent_encode(options.id)),
                       body_of(options, {{"overlap_seconds", options.overlap.count()}})));
}

int run_key_revoke(const Context& context, const AccessOptions& options) {
  const auto ended =
      post(context, fmt::format("/v1/keys/{}/revoke", percent_encode(options.id)), body_of(options));
  if (!ended) return context.report(ended.error());
  if (context.json) return print_json(context, *ended);
  *context.out << fmt::format("revoked: key {} of {}/{}\n", text_at(*ended, "/id"),
                              text_at(*ended, "/tenant"), text_at(*ended, "/principal"));
  return exit_good;
}

void add_tenant_option(Command command, const OptionsPtr& options) {
  command.add_option("--tenant", options->tenant, "Of this tenant; without it, of the caller's own");
}

}  // namespace

void add_key_command(Command app, Context& context) {
  const auto key = app.add_subcommand("key", "API keys: create, list, rotate and revoke them");
  key.require_subcommand();
  key.fallthrough();
  const auto options = std::make_shared<AccessOptions>();
  const auto create = key.add_subcommand("create", "Make a key and print it, once");
  create.add_option("--principal", options->principal, "Whose key it is").required();
  create.add_option("--valid", options->valid, "For how many seconds; without it until it is revoked");
  const auto rotate =
      key.add_subcommand("rotate", "Make a new key in place of one, which goes on for an overlap");
  rotate.add_option("ID", options->id, "As `key list` shows it").required();
  rotate.add_option("--overlap", options->overlap, "For how many seconds both are valid").show_default();
  const auto revoke = key.add_subcommand("revoke", "End a key; all daemons know within 5 s");
  revoke.add_option("ID", options->id, "As `key list` shows it").required();
  const auto list = key.add_subcommand("list", "The keys, without their secrets");
  for (const auto& command : {create, rotate})
    command.add_option("--out,-o", options->out, "Write the key into this file, mode 0600, and print none");
  for (const auto& command : {create, rotate, revoke, list}) add_tenant_option(command, options);
  create.callback([&context, options] { context.exit_code = run_key_create(context, *options); });
  rotate.callback([&context, options] { context.exit_code = run_key_rotate(context, *options); });
  revoke.callback([&context, options] { context.exit_code = run_key_revoke(context, *options); });
  list.callback([&context, options] {
    context.exit_code = print_list(
        context, get(context, list_target("/v1/keys", *options)), "keys",
        {"id", "principal", "prefix", "created_at", "expires_at", "revoked_at", "replaced_by"}, "no keys\n");
  });
}

void add_principal_command(Command app, Context& context) {
  const auto principal = app.add_subcommand("principal", "Who may call the API, and in which role");
  principal.require_subcommand();
  principal.fallthrough();
  const auto options = std::make_shared<AccessOptions>();
  const auto create = principal.add_subcommand("create", "Make a principal");
  std::vector<std::string> roles;
  for (const auto role : access::all_roles) roles.emplace_back(to_string(role));
  create.add_option("NAME", options->name, "Letters, digits and ._@-").required();
  create.add_option("--role", options->role, "What it may call: docs/security.md").required().one_of(roles);
  const auto disable =
      principal.add_subcommand("disable", "End all of a principal's keys, until it is enabled");
  const auto enable = principal.add_subcommand("enable", "Let a principal's keys be valid again");
  for (const auto& command : {disable, enable})
    command.add_option("NAME", options->name, "As `principal list` shows it").required();
  const auto list = principal.add_subcommand("list", "The principals of a tenant");
  for (const auto& command : {create, disable, enable, list}) add_tenant_option(command, options);
  disable.callback(
      [&context, options] { context.exit_code = run_principal_set(context, *options, "disable"); });
  enable.callback(
      [&context, options] { context.exit_code = run_principal_set(context, *options, "enable"); });
  create.callback([&context, options] { context.exit_code = run_principal_create(context, *options); });
  list.callback([&context, options] {
    context.exit_code =
        print_list(context, get(context, list_target("/v1/principals", *options)), "principals",
                   {"name", "role", "disabled", "created_at"}, "no principals\n");
  });
}

void add_tenant_command(Command app, Context& context) {
  const auto tenant = app.add_subcommand("tenant", "Tenants, whose principals and keys are kept apart");
  tenant.require_subcommand();
  tenant.fallthrough();
  const auto options = std::make_shared<AccessOptions>();
  const auto create = tenant.add_subcommand("create", "Make a tenant");
  create.add_option("NAME", options->name, "Letters, digits and ._@-").required();
  create.callback([&context, options] { context.exit_code = run_tenant_create(context, *options); });
  tenant.add_subcommand("list", "All tenants").callback([&context] {
    context.exit_code =
        print_list(context, get(context, "/v1/tenants"), "tenants", {"name", "created_at"}, "no tenants\n");
  });
}

}  // namespace citadel::cli
