#include "app/config_rules.hpp"

#include <fmt/format.h>

#include <array>

#include "app/retention_times.hpp"

namespace citadel::app {
namespace {

bool has_ca_where_needed(TlsMode tls, const std::filesystem::path& ca_file) {
  return (tls != TlsMode::verify_ca && tls != TlsMode::verify_full) || !ca_file.empty();
}

bool has_host_where_set(const Config& config) {
  if (!config.database_direct.host.empty()) return true;
  const auto at = config.origins.lower_bound("database.direct.");
  return at == config.origins.end() || !at->first.starts_with("database.direct.");
}

template <Duration RetentionConfig::* Keep, RetentionProfile Profile>
bool is_above_floor(const Config& config) {
  const auto& retention = config.audit_retention;
  return retention.profile != Profile || retention.*Keep == Duration::zero() ||
         retention.*Keep >= retention_floor(Profile);
}

// A class is kept no longer than the next; where one is under a floor, that is told already.
template <Duration RetentionConfig::* Shorter, Duration RetentionConfig::* Longer, std::size_t Class>
bool is_in_order(const Config& config) {
  const auto& retention = config.audit_retention;
  const auto is_under = [&](Duration keep) {
    return keep != Duration::zero() && keep < retention_floor(retention.profile);
  };
  const auto keep = effective_keep(retention);
  return is_under(retention.*Shorter) || is_under(retention.*Longer) || keep[Class] <= keep[Class + 1];
}

// clang-format off
#define FLOORS(name, member)                                                                                       \
    {"audit.retention." name, "audit.retention.profile", "must be at least 1d, or 0s",                            \
     is_above_floor<&RetentionConfig::member, RetentionProfile::none>},                                            \
    {"audit.retention." name, "audit.retention.profile",                                                           \
     "is under the floor of the profile eu_ai_act, 184d: EU AI Act articles 19 and 26 ask for six months",         \
     is_above_floor<&RetentionConfig::member, RetentionProfile::eu_ai_act>},                                       \
    {"audit.retention." name, "audit.retention.profile",                                                           \
     "is under the floor of the profile pci_dss, 366d: PCI DSS 10.5.1 asks for twelve months",                     \
     is_above_floor<&RetentionConfig::member, RetentionProfile::pci_dss>},                                         \
    {"audit.retention." name, "audit.retention.profile",                                                           \
     "is under the floor of the profile hipaa, 2192d: HIPAA, 45 CFR 164.316(b)(2)(i), asks for six years",         \
     is_above_floor<&RetentionConfig::member, RetentionProfile::hipaa>}

constexpr auto rules = std::to_array<Rule>({
    {"pool.size_min", "pool.size_max", "must not be more than pool.size_max",
     [](const Config& c) { return c.pool.size_min <= c.pool.size_max; }},
    {"database.tls", "database.tls_ca_file", "verify_ca and verify_full need database.tls_ca_file",
     [](const Config& c) { return has_ca_where_needed(c.database.tls, c.database.tls_ca_file); }},
    {"database.direct.tls", "database.direct.tls_ca_file",
     "verify_ca and verify_full need database.direct.tls_ca_file",
     [](const Config& c) { return has_ca_where_needed(c.database_direct.tls, c.database_direct.tls_ca_file); }},
    {"database.direct.host", "database.direct.port", "must be set where [database.direct] is",
     has_host_where_set},
    {"breaker.calls_min", "breaker.window_calls", "must not be more than breaker.window_calls, with window count",
     [](const Config& c) {
       return c.breaker.window != BreakerWindow::count || c.breaker.calls_min <= c.breaker.window_calls;
     }},
    {"breaker.open_initial", "breaker.open_ceiling", "must not be more than breaker.open_ceiling",
     [](const Config& c) { return c.breaker.open_initial <= c.breaker.open_ceiling; }},
    {"retry.delay_initial", "retry.delay_ceiling", "must not be more than retry.delay_ceiling",
     [](const Config& c) { return c.retry.delay_initial <= c.retry.delay_ceiling; }},
    {"journal.size_bytes_max", "journal.segment_bytes", "must be at least two times journal.segment_bytes",
     [](const Config& c) { return c.journal.size_bytes_max / 2 >= c.journal.segment_bytes; }},
    {"journal.reserve_bytes", "journal.size_bytes_max", "must be at most half of journal.size_bytes_max",
     [](const Config& c) { return c.journal.reserve_bytes <= c.journal.size_bytes_max / 2; }},
    {"journal.gather_bytes", "journal.segment_bytes", "must be at most half of journal.segment_bytes",
     [](const Config& c) { return c.journal.gather_bytes <= c.journal.segment_bytes / 2; }},
    {"journal.payload_bytes_max", "journal.segment_bytes", "must be at most half of journal.segment_bytes",
     [](const Config& c) { return c.journal.payload_bytes_max <= c.journal.segment_bytes / 2; }},
    {"drain.batch_bytes", "journal.payload_bytes_max", "must hold one record of journal.payload_bytes_max",
     [](const Config& c) { return c.drain.batch_bytes >= c.journal.payload_bytes_max; }},
    {"audit.size_bytes_max", "audit.segment_bytes", "must be at least two times audit.segment_bytes",
     [](const Config& c) { return c.audit.size_bytes_max / 2 >= c.audit.segment_bytes; }},
    {"audit.reserve_bytes", "audit.size_bytes_max", "must be at most half of audit.size_bytes_max",
     [](const Config& c) { return c.audit.reserve_bytes <= c.audit.size_bytes_max / 2; }},
    {"audit.journal_folder", "journal.folder", "must be another folder than journal.folder",
     [](const Config& c) { return c.audit.journal_folder != c.journal.folder || c.journal.folder.empty(); }},
    FLOORS("short", short_),
    FLOORS("standard", standard),
    FLOORS("extended", extended),
    {"audit.retention.short", "audit.retention.standard", "must not be kept for longer than the class standard",
     is_in_order<&RetentionConfig::short_, &RetentionConfig::standard, 0>},
    {"audit.retention.standard", "audit.retention.extended", "must not be kept for longer than the class extended",
     is_in_order<&RetentionConfig::standard, &RetentionConfig::extended, 1>},
    {"http.header_timeout", "http.request_timeout", "must not be more than http.request_timeout",
     [](const Config& c) { return c.http.header_timeout <= c.http.request_timeout; }},
    {"local.postgres_port", "local.pgpool_port", "must differ from local.pgpool_port",
     [](const Config& c) { return c.local.postgres_port != c.local.pgpool_port; }},
});
#undef FLOORS
// clang-format on

}  // namespace

std::span<const Rule> config_rules() {
  return rules;
}

void check_rules(const Config& config, Problems& problems) {
  for (const auto& rule : rules) {
    if (rule.holds(config)) continue;
    const auto origin = config.origins.contains(rule.key) ? rule.key : rule.other;
    const auto dot = rule.key.rfind('.');
    const auto* key = find_key(rule.key.substr(0, dot), rule.key.substr(dot + 1));
    problems.add(origin_of(config, origin), fmt::format("{} = {}", rule.key, value_toml(*key, config)),
                 rule.text);
  }
}

}  // namespace citadel::app
