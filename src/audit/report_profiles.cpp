// What each profile asks for, as far as an audit log is evidence of it. Requirements are named by their
// numbers and in a few words of ours; the texts themselves are their publishers'.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "audit/report.hpp"

namespace citadel::audit {
namespace {

using std::chrono::days;
using enum Topic;

const std::vector<ReportProfile> profiles{
    {.name = "soc2",
     .title = "SOC 2: Trust Services Criteria (2017, points of focus 2022)",
     .retention_floor = days(0),
     .retention_source = "The criteria name no time; the period under audit has to be covered.",
     .topics = {{population, "CC4.1, CC7.2: what is logged, and a sample of it"},
                {access, "CC6.1, CC6.2: who was let in"},
                {failed_logins, "CC6.1, CC6.6, CC7.2: attempts from outside the boundary"},
                {privileged, "CC6.2, CC6.3: keys, roles, users and tenants"},
                {configuration, "CC8.1: changes"},
                {readers, "CC6.1, C1.1: who read what is confidential here"},
                {retention, "C1.2, PI1.5: what was kept, held and erased"},
                {outages, "A1.2, CC7.3, CC7.4: what was lost or interrupted"},
                {verification, "PI1.5, CC7.1: that the log is as it was written"}},
     .beyond = {"That a change was authorised, tested and approved before it was made (CC8.1).",
                "That access rights were reviewed by their owners (CC6.3): this report is input to such a "
                "review."}},
    {.name = "eu-ai-act",
     .title = "EU AI Act, Regulation (EU) 2024/1689",
     .retention_floor = days(183),
     .retention_source = "Articles 19(1) and 26(6): at least six months.",
     .topics = {{population, "Article 12(1), (2): automatic recording of events over the lifetime"},
                {ai_use, "Articles 12(3), 14, 26(5): uses, and what humans reviewed or overrode"},
                {configuration, "Article 12(2)(a): changes of models, prompts, parameters"},
                {privileged, "Article 15(5): who may change the system"},
                {failed_logins, "Article 15(5): attempts by unauthorised third parties"},
                {readers, "Article 26(6): who had the logs in hand"},
                {retention, "Articles 19(1), 26(6): how long logs were kept"},
                {outages, "Articles 12(2)(a), 26(5), 73: malfunctions and gaps"},
                {verification, "Article 12(1): that the records are as they were written"}},
     .beyond = {"Whether the system is of high risk, and whether its uses are those it was made for.",
                "Reference databases and the persons who verified results, where Article 12(3)(b) to (d) "
                "applies: only if callers recorded them as details."}},
    {.name = "hipaa",
     .title = "HIPAA Security Rule, 45 CFR Part 164 Subpart C",
     .retention_floor = days(6 * 365 + 2),
     .retention_source = "§164.316(b)(2)(i): documentation is kept for six years.",
     .topics = {{population, "§164.312(b): audit controls"},
                {access, "§164.312(a)(1), (d): access, and who it was"},
                {failed_logins, "§164.308(a)(5)(ii)(C): log-in monitoring"},
                {privileged, "§164.308(a)(4)(ii)(C): access establishment and modification"},
                {readers, "§164.308(a)(1)(ii)(D): review of information system activity"},
                {configuration, "§164.308(a)(8), §164.312(c)(1): changes that bear on integrity"},
                {retention, "§164.316(b)(2)(i): what was kept, held and erased"},
                {outages, "§164.308(a)(6)(ii), (a)(7): incidents and interruptions"},
                {verification, "§164.312(c)(2): mechanism to authenticate that nothing was altered"}},
     .beyond = {"Which records hold protected health information: the log does not classify content.",
                "Access to health information in systems that do not report to this log."}},
    {.name = "pci",
     .title = "PCI DSS v4.0.1, requirement 10",
     .retention_floor = days(365),
     .retention_source = "10.5.1: twelve months, the last three at hand.",
     .topics = {{population, "10.2.1, 10.2.2: what is recorded of each event"},
                {access, "10.2.1.1: individual user access"},
                {failed_logins, "10.2.1.4: invalid logical access attempts"},
                {privileged, "10.2.1.2, 10.2.1.5: administrative actions; changes of credentials"},
                {readers, "10.2.1.3, 10.3.1: access to audit logs"},
                {configuration, "10.2.1.7: creation and deletion of system-level objects"},
                {outages, "10.2.1.6, 10.7: starts, stops and gaps of logging"},
                {retention, "10.5.1: how long logs were kept"},
                {verification, "10.3.2, 10.3.4: protection from modification"}},
     .beyond = {"Time synchronisation (10.6): times are those of producers and of the daemon.",
                "Daily review of logs by people or tools (10.4.1): only who read this log is shown."}},
    {.name = "gdpr",
     .title = "GDPR, Regulation (EU) 2016/679",
     .retention_floor = days(0),
     .retention_source = "Article 5(1)(e): no longer than necessary; the controller sets the time.",
     .topics = {{population, "Articles 5(2), 24(1): accountability"},
                {readers, "Articles 5(1)(f), 32(1)(b): who read recorded personal data"},
                {retention, "Articles 5(1)(e), 17, 18: retention, erasure, and what was held back"},
                {access, "Article 32(1)(b): who was let in"},
                {failed_logins, "Articles 32(1)(b), 33: attempts to get in"},
                {privileged, "Article 32(4): who may act, and who let them"},
                {configuration, "Article 32(1)(d): changes"},
                {outages, "Articles 32(1)(c), 33: losses and interruptions"},
                {verification, "Article 5(1)(f): integrity"}},
     .beyond = {"The lawfulness of a processing, and whether a request of a data subject was answered in "
                "time.",
                "Personal data outside this log."}},
};

}  // namespace

std::span<const ReportProfile> report_profiles() {
  return profiles;
}

Result<ReportProfile> find_profile(std::string_view name) {
  const auto at = std::ranges::find(profiles, name, &ReportProfile::name);
  if (at != profiles.end()) return *at;
  std::vector<std::string_view> names;
  for (const auto& profile : profiles) names.push_back(profile.name);
  return fail(Code::invalid_argument,
              fmt::format("--profile: '{}' is not one of {}", name, fmt::join(names, ", ")));
}

}  // namespace citadel::audit
