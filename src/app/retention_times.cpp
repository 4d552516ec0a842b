#include "app/retention_times.hpp"

namespace citadel::app {
namespace {

constexpr auto day = std::chrono::hours(24);
constexpr Duration six_months = 184 * day, twelve_months = 366 * day, six_years = 2192 * day;

}  // namespace

Duration retention_floor(RetentionProfile profile) {
  switch (profile) {
    case RetentionProfile::none:
      return day;
    case RetentionProfile::eu_ai_act:
      return six_months;
    case RetentionProfile::pci_dss:
      return twelve_months;
    case RetentionProfile::hipaa:
      return six_years;
  }
  return six_years;
}

audit::KeepTimes effective_keep(const RetentionConfig& config) {
  const auto keep = [&](Duration said, Duration otherwise) {
    const Duration time =
        said == Duration::zero() ? std::max(otherwise, retention_floor(config.profile)) : said;
    return std::chrono::ceil<std::chrono::seconds>(time);
  };
  return {keep(config.short_, six_months), keep(config.standard, twelve_months),
          keep(config.extended, six_years)};
}

}  // namespace citadel::app
