#include "app/audit_witnesses.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.hpp"
#include "base/random.hpp"
#include "http/client.hpp"

namespace citadel::app {
namespace {

constexpr std::size_t policy_bytes_max = 256 << 10;
constexpr std::size_t answer_bytes_max = 64 << 10;

struct Place {
  http::UrlPlace server;
  std::string url;     // as the policy has it
  std::string target;  // of add-checkpoint
};

Result<Place> place_of(std::string_view url) {
  const auto scheme_end = url.find("://");
  const auto path =
      std::min(url.find('/', scheme_end == std::string_view::npos ? 0 : scheme_end + 3), url.size());
  CITADEL_ASSIGN(auto server, http::parse_http_or_https_url(url.substr(0, path)));
  std::string prefix(url.substr(path));
  while (prefix.ends_with('/')) prefix.pop_back();
  if (prefix.find_first_of("?# ") != std::string::npos)
    return fail(Code::invalid_argument, fmt::format("{}: a submission prefix has no query", url));
  return Place{std::move(server), std::string(url), prefix + "/add-checkpoint"};
}

http::ClientOptions client_options(const Place& place, const std::optional<crypto::TlsTrust>& trust) {
  http::ClientOptions options;
  options.host = place.server.host;
  options.port = place.server.port;
  if (place.server.https) options.tls = trust;
  options.response_body_bytes_max = answer_bytes_max;
  return options;
}

// A certificate that is not good is no word of the witness: it is away, and the error says why.
Error untrusted(Error error, const Place& place, const std::filesystem::path& ca_file) {
  if (error.code != Code::permission_denied) return error;
  error.code = Code::unavailable;
  error.message =
      fmt::format("{}: {} (trusted CAs: {})", place.url, error.message,
                  ca_file.empty() ? "the system's; audit.witness_ca_file names others"
                                  : fmt::format("those in audit.witness_ca_file, {}", ca_file.string()));
  return error;
}

// The way to one witness.
class WitnessClient {
 public:
  WitnessClient(const Executor& executor, Place place, const std::optional<crypto::TlsTrust>& trust,
                std::filesystem::path ca_file)
      : client_(executor, client_options(place, trust)),
        place_(std::move(place)),
        ca_file_(std::move(ca_file)) {}

  Task<Result<audit::WitnessReply>> ask(std::string body, Deadline deadline) {
    const http::ClientRequest request{
        http::Method::post, place_.target, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body)};
    auto answer = co_await client_.request(request, deadline);
    // A kept connection that the witness has closed meanwhile. To be asked twice does it no harm.
    if (!answer && answer.error().code == Code::connection_lost)
      answer = co_await client_.request(request, deadline);
    if (!answer) co_return std::unexpected(untrusted(std::move(answer).error(), place_, ca_file_));
    co_return audit::WitnessReply{answer->status, std::string(answer->headers.get("Content-Type")),
                                  std::move(answer->body)};
  }

 private:
  http::Client client_;
  Place place_;
  std::filesystem::path ca_file_;
};

Result<std::optional<crypto::TlsTrust>> load_trust(const tlog::WitnessPolicy& policy,
                                                   const AuditConfig& config) {
  const bool needed = std::ranges::any_of(policy.witnesses(), [](const tlog::PolicyWitness& witness) {
    return witness.url.starts_with("https://");
  });
  if (!needed) return std::optional<crypto::TlsTrust>();
  auto trust = crypto::TlsTrust::load(config.witness_ca_file);
  if (trust) return std::optional(*std::move(trust));
  return fail(
      Code::invalid_argument,
      fmt::format("audit.witness_ca_file: {}; put the CAs of the witnesses' certificates there, as PEM, "
                  "or leave the key out to trust those that the system trusts",
                  trust.error().message));
}

}  // namespace

Result<std::optional<WitnessesConfigured>> load_witnesses(const AuditConfig& config) {
  if (config.witness_policy_file.empty()) return std::optional<WitnessesConfigured>();
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
  CITADEL_ASSIGN(auto trust, load_trust(*policy, config));
  return std::optional(WitnessesConfigured{*std::move(policy), std::move(trust)});
}

std::shared_ptr<audit::Witnesses> make_witnesses(WitnessesConfigured configured, const AuditConfig& config,
                                                 const Executor& executor, const Clock& clock) {
  auto clients = std::make_shared<std::vector<std::unique_ptr<WitnessClient>>>();
  for (const auto& witness : configured.policy.witnesses()) {
    clients->push_back(std::make_unique<WitnessClient>(executor, place_of(witness.url).value(),
                                                       configured.trust, config.witness_ca_file));
  }
  audit::WitnessOptions options;
  options.timeout = std::chrono::ceil<std::chrono::milliseconds>(config.witness_timeout);
  return std::make_shared<audit::Witnesses>(
      std::move(configured.policy),
      [clients](std::size_t place, std::string body, Deadline deadline) {
        return (*clients)[place]->ask(std::move(body), deadline);
      },
      options, random_seed(), clock);
}

Task<Result<void>> reach_witness(const WitnessesConfigured& configured, std::size_t place,
                                 const AuditConfig& config, Deadline deadline) {
  auto where = place_of(configured.policy.witnesses()[place].url).value();
  http::Client client(co_await asio::this_coro::executor, client_options(where, configured.trust));
  const auto answer = co_await client.request(http::Method::get, where.target, {}, "", deadline);
  if (!answer) co_return std::unexpected(untrusted(answer.error(), where, config.witness_ca_file));
  co_return Result<void>();
}

}  // namespace citadel::app
