#include "audit/redaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "audit/text_detectors.hpp"
#include "base/check.hpp"
#include "json/parse.hpp"
#include "json/serialize.hpp"

namespace citadel::audit {
namespace {

namespace bj = boost::json;

// Enough for any group that check_event() let pass.
constexpr json::ParseLimits group_limits{.depth_max = 60, .size_bytes_max = 16 << 20};

char fold(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// A member's name without case and separators.
std::string folded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != '.' && c != ' ') out += fold(c);
  }
  return out;
}

}  // namespace

// One event's way through the rules.
class Redactor::Pass {
 public:
  explicit Pass(const Redactor& redactor) : redactor_(redactor), counts_(redactor.rules_.size()) {}

  bool text(std::string& text) {
    bool changed = false;
    for (std::size_t rule = 0; rule < counts_.size(); ++rule) {
      if (!redactor_.rules_[rule].detector) continue;
      const std::size_t found = replace(*redactor_.rules_[rule].detector, text, mark(rule));
      counts_[rule] += found;
      changed |= found != 0;
    }
    return changed;
  }

  bool value(bj::value& value) {
    if (auto* object = value.if_object()) {
      bool changed = false;
      for (auto& entry : *object) changed |= member(entry.key(), entry.value());
      return changed;
    }
    if (auto* array = value.if_array()) {
      bool changed = false;
      for (auto& item : *array) changed |= this->value(item);
      return changed;
    }
    if (value.is_string()) return string(value);
    return number(value);
  }

  std::vector<Redacted> result() const {
    std::vector<Redacted> out;
    for (std::size_t rule = 0; rule < counts_.size(); ++rule) {
      if (counts_[rule] != 0) out.push_back({redactor_.rules_[rule].name, counts_[rule]});
    }
    return out;
  }

 private:
  std::string mark(std::size_t rule) const {
    return fmt::format("[redacted:{}]", redactor_.rules_[rule].name);
  }

  bool member(std::string_view name, bj::value& value) {
    const auto found = redactor_.by_member_.find(folded(name));
    if (found == redactor_.by_member_.end()) return this->value(value);
    if (value.is_null() || value.is_bool()) return false;
    const std::string replacement = mark(found->second);
    if (const auto* text = value.if_string(); text && std::string_view(*text) == replacement) return false;
    ++counts_[found->second];
    value = replacement;
    return true;
  }

  bool string(bj::value& value) {
    std::string text(value.get_string());
    if (!this->text(text)) return false;
    value = text;
    return true;
  }

  // A card number that was sent as a number.
  bool number(bj::value& value) {
    std::string digits;
    if (const auto* integer = value.if_int64()) digits = fmt::format_int(*integer).c_str();
    if (const auto* integer = value.if_uint64()) digits = fmt::format_int(*integer).c_str();
    if (digits.empty() || !text(digits)) return false;
    value = digits;
    return true;
  }

  const Redactor& redactor_;
  std::vector<std::size_t> counts_;
};

std::vector<RedactionRule> default_redaction_rules() {
  return {
      {.name = "authorization", .members = {"authorization", "proxy_authorization", "x_authorization"}},
      {.name = "cookie", .members = {"cookie", "set_cookie"}},
      {.name = "password",
       .members = {"password", "passwd", "passphrase", "old_password", "new_password", "user_password",
                   "db_password"}},
      {.name = "api_key", .members = {"api_key", "x_api_key", "subscription_key"}},
      {.name = "token",
       .members = {"access_token", "refresh_token", "id_token", "auth_token", "bearer_token", "session_token",
                   "csrf_token", "x_auth_token", "x_csrf_token"}},
      {.name = "secret",
       .members = {"secret", "client_secret", "secret_key", "secret_access_key", "aws_secret_access_key",
                   "shared_secret", "signing_secret", "webhook_secret"}},
      {.name = "private_key", .members = {"private_key", "ssh_private_key", "signing_key"}},
      {.name = "card_security_code", .members = {"cvv", "cvv2", "cvc", "cvc2", "card_security_code"}},
      {.name = "private_key_text", .detector = Detector::private_key},
      {.name = "bearer_token", .detector = Detector::bearer_token},
      {.name = "card_number", .detector = Detector::card_number},
  };
}

Result<Redactor> Redactor::compile(std::vector<RedactionRule> rules) {
  Redactor redactor;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const RedactionRule& rule = rules[i];
    if (rule.name.empty())
      return fail(Code::invalid_argument, fmt::format("redaction rule {} has no name", i + 1));
    if (rule.members.empty() == !rule.detector) {
      return fail(
          Code::invalid_argument,
          fmt::format("redaction rule \"{}\" must have members or a detector, and not both", rule.name));
    }
    for (const std::string& member : rule.members) {
      if (folded(member).empty()) {
        return fail(Code::invalid_argument,
                    fmt::format("redaction rule \"{}\" has an empty member", rule.name));
      }
      redactor.by_member_.emplace(folded(member), i);
    }
  }
  redactor.rules_ = std::move(rules);
  return redactor;
}

Result<std::vector<Redacted>> Redactor::apply(Event& event) const {
  // Most events have no text to look into.
  if (event.reason.empty() && std::ranges::all_of(event.groups, &std::string::empty))
    return std::vector<Redacted>();
  Pass pass(*this);
  Event changed = event;
  pass.text(changed.reason);
  for (const Group group : sensitive_groups) {
    std::string& text = changed.group(group);
    if (text.empty()) continue;
    auto value = json::parse(text, group_limits);
    if (!value)
      return fail(Code::invalid_argument, fmt::format("/{}: {}", to_string(group), value.error().message));
    if (pass.value(*value)) text = json::serialize(*value);
  }
  auto result = pass.result();
  if (!result.empty()) event = std::move(changed);
  return result;
}

}  // namespace citadel::audit
