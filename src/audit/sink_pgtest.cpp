#include "audit/audit_pgtesting.hpp"

namespace citadel::audit {
namespace {

// The migrations themselves leave entries in audit.pending.
TEST_F(AuditTest, ABatchLandsAndTheTreeIsOfItsLeaves) {
  const auto outcome = append({frame_of(event_of()), frame_of(sealed_event_of("acme", "ada")), frame_of(event_of())});
  EXPECT_EQ(outcome.stored, 3u);
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(sql("select tenant, subject from audit.event where idx < 3 order by idx"), "default|\nacme|ada\ndefault|");
  EXPECT_EQ(sql("select idx, grp from audit.sealed where idx < 3 order by 1, 2"), "1|1\n1|4");
}

}  // namespace
}  // namespace citadel::audit
