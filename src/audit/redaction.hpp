// Redaction: what must never be stored is replaced before an event is sealed: "[redacted:RULE]".
//
// A rule looks either at the names of an object's members or at texts. By name: the whole value goes, at any
// depth of the field groups; names are compared without case, and without '-', '_', '.' and blanks, so that
// "Set-Cookie" and "setCookie" are one; null, true and false stay, since they say nothing. By text, in
// strings of the groups and in the reason: card numbers (13 to 19 digits, alone or in groups, of a known
// issuer and with a right check digit; JSON integers too), bearer tokens, PEM private keys; the rest of the
// text stays.
//
// Not looked into: names of members, JSON or base64 inside of a string (but for the texts above), and the
// envelope's other fields. Time is linear in the event's size. Thread-safe once made.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "audit/event.hpp"

namespace citadel::audit {

enum class Detector : std::uint8_t { card_number, bearer_token, private_key };

struct RedactionRule {
  std::string name{};                  // as it stands in what replaces
  std::vector<std::string> members{};  // names of members; or none, and a detector:
  std::optional<Detector> detector{};
};

std::vector<RedactionRule> default_redaction_rules();

struct Redacted {
  std::string rule;
  std::size_t count = 0;
  friend bool operator==(const Redacted&, const Redacted&) = default;
};

class Redactor {
 public:
  // invalid_argument for a rule without a name, or with neither members nor detector, or both.
  static Result<Redactor> compile(std::vector<RedactionRule> rules);

  // What was replaced, in the order of the rules; empty where nothing was, and then the event is untouched.
  // A text may have grown: check_event() comes after. invalid_argument where a group is not JSON.
  Result<std::vector<Redacted>> apply(Event& event) const;

 private:
  class Pass;
  Redactor() = default;

  std::vector<RedactionRule> rules_;
  std::unordered_map<std::string, std::size_t> by_member_;  // folded name to rule
};

}  // namespace citadel::audit
