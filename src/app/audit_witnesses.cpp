#include "app/audit_witnesses.hpp"

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/random.hpp"
#include "http/client.hpp"

namespace citadel::app {
namespace {

constexpr std::size_t policy_bytes_max = 256 << 10;
constexpr std::size_t answer_bytes_max = 64 << 10;

struct Place {
  http::ClientOptions client;
  std::string target;  // of add-checkpoint
};

Result<Place> place_of(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  if (url.starts_with("https://")) {
    return fail(Code::invalid_argument,
                fmt::format("{}: witnesses are asked by http; put a proxy that speaks TLS in between", url));
  }
  const auto authority = url.starts_with(scheme) ? scheme.size() : 0;
  const auto path = std::min(url.find('/', authority), url.size());
  CITADEL_ASSIGN(auto client, http::parse_url(url.substr(0, path)));
  client.response_body_bytes_max = answer_bytes_max;
  std::string prefix(url.substr(path));
  while (prefix.ends_with('/')) prefix.pop_back();
  if (prefix.find_first_of("?# ") != std::string::npos)
    return fail(Code::invalid_argument, fmt::format("{}: a submission prefix has no query", url));
  return Place{std::move(client), prefix + "/add-checkpoint"};
}

// The way to one witness.
class WitnessClient {
 public:
  WitnessClient(const Executor& executor, Place place)
      : client_(executor, std::move(place.client)), target_(std::move(place.target)) {}

  Task<Result<audit::WitnessReply>> ask(std::string body, Deadline deadline) {
    CITADEL_CO_ASSIGN(
        const auto answer,
        co_await client_.request(http::Method::post, target_, {{"Content-Type", "text/plain; charset=utf-8"}},
                                 std::move(body), deadline));
    co_return audit::WitnessReply{answer.status, std::string(answer.headers.get("Content-Type")),
                                  answer.body};
  }

 private:
  http::Client client_;
  std::string target_;
};

}  // namespace

Result<std::optional<tlog::WitnessPolicy>> load_witness_policy(const AuditConfig& config) {
  if (config.witness_policy_file.empty()) return std::optional<tlog::WitnessPolicy>();
  const auto name = fmt::format("audit.witness_policy_file: {}", config.witness_policy_file.string());
  const auto bad = [&](std::string_view what) {
    return fail(
        Code::invalid_argument,
        fmt::format("{}: {}; docs/audit.md, Witnesses, has an example, and without this key no witness "
                    "is asked",
                    name, what));
  };
  const auto text = read_file(config.witness_policy_file, policy_bytes_max);
  if (!text) return bad(fmt::format("cannot be read ({}); write the policy there", text.error().message));
  auto policy = tlog::WitnessPolicy::parse(*text);
  if (!policy) return bad(policy.error().message);
  if (policy->witnesses().empty()) return bad("there is no witness in it");
  for (const auto& witness : policy->witnesses()) {
    if (witness.url.empty())
      return bad(fmt::format("witness {} has no URL to ask; add it at the end of its line", witness.name));
    if (auto place = place_of(witness.url); !place) return bad(place.error().message);
  }
  return std::optional(*std::move(policy));
}

std::shared_ptr<audit::Witnesses> make_witnesses(tlog::WitnessPolicy policy, const AuditConfig& config,
                                                 const Executor& executor, const Clock& clock) {
  auto clients = std::make_shared<std::vector<std::unique_ptr<WitnessClient>>>();
  for (const auto& witness : policy.witnesses())
    clients->push_back(std::make_unique<WitnessClient>(executor, place_of(witness.url).value()));
  audit::WitnessOptions options;
  options.timeout = std::chrono::ceil<std::chrono::milliseconds>(config.witness_timeout);
  return std::make_shared<audit::Witnesses>(
      std::move(policy),
      [clients](std::size_t place, std::string body, Deadline deadline) {
        return (*clients)[place]->ask(std::move(body), deadline);
      },
      options, random_seed(), clock);
}

}  // namespace citadel::app
