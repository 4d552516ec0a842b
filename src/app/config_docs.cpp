#include "app/config_docs.hpp"

#include <fmt/format.h>

#include "app/config_keys.hpp"
#include "app/config_value.hpp"

namespace citadel::app {
namespace {

constexpr std::string_view introduction = R"(# Configuration

This file is made by `citadel config docs`; change the table in `src/app/config_keys.cpp` instead.

Citadel runs without a configuration file. `citadel serve --config citadel.toml` reads one:

```toml
[database]
host = "db.example.org"
port = 5433
password_file = "/etc/citadel/password"
tls = "verify_full"
tls_ca_file = "/etc/citadel/ca.pem"

[database.direct]
host = "db.example.org"

[log]
format = "json"
```

**Where a value comes from.** The default, then the file, then the environment: `pool.size_max` is also
`CITADEL_POOL_SIZE_MAX`, `database.direct.host` is `CITADEL_DATABASE_DIRECT_HOST`. The later one wins.
`citadel config show --config citadel.toml` prints every value and where it came from.

**Faults.** Citadel refuses to start with a configuration that has any fault: an unknown key or `CITADEL_` variable,
a wrong type, a value out of its range, two keys that do not fit together, a secret that cannot be read. It names
all of them, each with file, line and column, and what would be good:

```
citadel.toml:7:12: pool.size_max = 5000: is out of range; good: 1 to 1000
citadel.toml:9:1: pool.sise_min: is not a key; did you mean pool.size_min?
```

`citadel config check --config citadel.toml` does the same without starting: exit code 0 when all is good, 1 when not.

**Secrets** stand in files of their own, never in this one: the file's first line is the secret, and others must not
be able to read it (mode 0600 or 0640). They are not printed, logged, or part of an error.

**Reload.** On SIGHUP Citadel reads file, environment and secrets again. Keys marked *yes* take effect; a change of
another key is named in the log and takes effect at the next start. A configuration with a fault is refused whole and
the old one stays.

**Types.** Durations are a whole number and a unit: `us`, `ms`, `s`, `m`, `h`, `d`. Sizes are a whole number and
`B`, `KiB`, `MiB`, `GiB` or `TiB`, or a number of bytes. Both are written in quotes. Relative paths count from the
folder of the configuration file, in the environment from the working directory.

Variables that are no settings: `CITADEL_URL` and `CITADEL_KEY_FILE` point client commands at a daemon.
)";

// Cells are one line, and a bar would end them.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string default_cell(const Key& key) {
  const auto text = value_text(key, Config());
  return text.empty() ? "" : fmt::format("`{}`", value_toml(key, Config()));
}

}  // namespace

std::string render_config_docs() {
  std::string out(introduction);
  for (const auto& section : config_sections()) {
    out += fmt::format(
        "\n## [{}]\n{}\n\n| key | type | default | good values | reload | meaning "
        "|\n|---|---|---|---|---|---|\n",
        section.name, section.doc);
    for (const auto& key : config_keys()) {
      if (key.section != section.name) continue;
      const auto type = type_name(key);
      out += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", key.name, type.substr(type.find(' ') + 1),
                         default_cell(key), cell(limit_text(key)), key.reload == Reload::yes ? "yes" : "no",
                         cell(key.doc));
    }
  }
  return out;
}

std::string render_config(const Config& config) {
  std::string out;
  for (const auto& section : config_sections()) {
    out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section.name);
    for (const auto& key : config_keys()) {
      if (key.section != section.name) continue;
      const auto origin = config.origins.find(key.full_name());
      const bool is_default = origin == config.origins.end();
      // An optional section that is not set must not become one that is set to nothing.
      const bool is_unset =
          is_default && key.section == "database.direct" && config.database_direct.host.empty();
      out += fmt::format("{}{:<24} = {:<24} # {}\n", is_unset ? "# " : "", key.name, value_toml(key, config),
                         is_default ? "default" : origin->second);
    }
  }
  return out;
}

}  // namespace citadel::app
