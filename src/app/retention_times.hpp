// How long the contents of audit events are kept: what the configuration says, and the floors of the profiles
// that an operator is held to. Pure.
#pragma once
#include "app/config.hpp"
#include "audit/retention.hpp"

namespace citadel::app {

// EU AI Act articles 19 and 26: six months. PCI DSS 10.5.1: twelve months. HIPAA, 45 CFR 164.316(b)(2)(i):
// six years. In days, none of which is shorter than the calendar's; a day without a profile.
Duration retention_floor(RetentionProfile profile);

// By class. Where the configuration says nothing: 184, 366 and 2192 days, or the profile's floor where that
// is longer.
audit::KeepTimes effective_keep(const RetentionConfig& config);

}  // namespace citadel::app
