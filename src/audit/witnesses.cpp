#include "audit/witnesses.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "aio/wait.hpp"
#include "base/log.hpp"

namespace citadel::audit {
namespace {

// Each answer with another size than the last may be another daemon's doing; a witness that plays on is away.
constexpr int sizes_max = 3;

WitnessState state_of(const Error& error) {
  switch (error.code) {
    case Code::conflict:
      return WitnessState::inconsistent;
    case Code::permission_denied:
    case Code::not_found:
    case Code::invalid_argument:
      return WitnessState::refused;
    default:
      return WitnessState::away;
  }
}

}  // namespace

std::string_view to_string(WitnessState state) {
  constexpr std::array<std::string_view, 6> names{"unasked", "cosigned", "away",
                                                  "refused", "ahead",    "inconsistent"};
  return names[static_cast<std::size_t>(state)];
}

struct Witnesses::Round {
  const tlog::Checkpoint& checkpoint;
  tlog::Note note;  // signatures are added as they come
  const std::string file;
  const ProveGrowth prove;
  const Deadline deadline;
};

Witnesses::Witnesses(tlog::WitnessPolicy policy, AskWitness ask, WitnessOptions options, std::uint64_t seed,
                     const Clock& clock)
    : policy_(std::move(policy)), ask_(std::move(ask)), options_(options), random_(seed), clock_(clock) {
  for (const auto& witness : policy_.witnesses()) {
    ones_.emplace_back(resilience::Backoff(options_.backoff, random_));
    ones_.back().status.name = witness.name;
  }
}

std::vector<bool> Witnesses::cosigned_by(const tlog::Note& note) const {
  std::vector<bool> out;
  for (const auto& witness : policy_.witnesses()) {
    out.push_back(std::ranges::any_of(note.signatures, [&](const tlog::NoteSignature& signature) {
      return witness.key.matches(signature) && witness.key.verify(note.text, signature.bytes).has_value();
    }));
  }
  return out;
}

std::size_t Witnesses::count_cosigned(std::string_view note) const {
  const auto parsed = tlog::parse_note(note);
  return parsed ? static_cast<std::size_t>(std::ranges::count(cosigned_by(*parsed), true)) : 0;
}

bool Witnesses::quorum_met(std::string_view note) const {
  const auto parsed = tlog::parse_note(note);
  return parsed && policy_.quorum_met(cosigned_by(*parsed));
}

Task<std::string> Witnesses::cosign(std::string note, const tlog::Checkpoint& checkpoint, ProveGrowth prove,
                                    Deadline deadline) {
  auto parsed = tlog::parse_note(note);
  if (!parsed) co_return note;
  const auto cosigned = cosigned_by(*parsed);
  const auto before = parsed->signatures.size();
  Round round{checkpoint, *std::move(parsed), note, std::move(prove), deadline.within(options_.timeout)};
  const auto executor = co_await asio::this_coro::executor;
  using Ask = decltype(asio::co_spawn(executor, ask(0, round), asio::deferred));
  std::vector<Ask> asks;
  for (std::size_t i = 0; i < ones_.size(); ++i) {
    if (!cosigned[i] && ones_[i].due <= clock_.monotonic())
      asks.push_back(asio::co_spawn(executor, ask(i, round), asio::deferred));
  }
  if (asks.empty()) co_return note;
  const auto [order, exceptions] = co_await asio::experimental::make_parallel_group(std::move(asks))
                                       .async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  for (const auto& exception : exceptions) {
    if (exception) std::rethrow_exception(exception);
  }
  co_return round.note.signatures.size() == before ? note : tlog::encode_note(round.note);
}

Task<> Witnesses::ask(std::size_t place, Round& round) {
  auto& one = ones_[place];
  auto given = co_await converse(place, round);
  if (!given) {
    const bool ahead = one.known_size > round.checkpoint.size;
    note_failure(one, ahead ? WitnessState::ahead : state_of(given.error()), given.error());
    co_return;
  }
  if (one.status.last_error) log::info("audit", "a witness cosigns again", {{"witness", one.status.name}});
  for (auto& signature : *given) round.note.signatures.push_back(std::move(signature));
  one.backoff.reset();
  one.known_size = round.checkpoint.size;
  one.status.state = WitnessState::cosigned;
  one.status.last_error.reset();
  one.status.size = round.checkpoint.size;
  one.status.cosigned_at = clock_.wall();
  ++one.status.cosigned_total;
}

Task<Result<std::vector<tlog::NoteSignature>>> Witnesses::converse(std::size_t place, const Round& round) {
  auto& one = ones_[place];
  const auto& key = policy_.witnesses()[place].key;
  const auto size = round.checkpoint.size;
  if (one.known_size > size) one.known_size = 0;  // it is asked anew
  for (int i = 0; i < sizes_max; ++i) {
    tlog::AddCheckpointRequest request{.old_size = one.known_size, .proof = {}, .checkpoint = round.file};
    if (request.old_size > 0 && request.old_size < size) {
      auto proof = co_await round.prove(request.old_size, round.deadline);
      if (!proof)
        co_return fail(Code::unavailable, fmt::format("there is no proof for it: {}", proof.error().message));
      request.proof = *std::move(proof);
    }
    CITADEL_CO_ASSIGN(const auto reply,
                      co_await ask_(place, tlog::encode_add_checkpoint(request), round.deadline));
    CITADEL_CO_ASSIGN(auto answer, tlog::read_add_checkpoint_answer(reply.status, reply.content_type,
                                                                    reply.body, round.note.text, {&key, 1}));
    if (auto* const cosigned = std::get_if<tlog::Cosigned>(&answer))
      co_return std::move(cosigned->signatures);
    one.known_size = std::get<tlog::WitnessIsAt>(answer).size;
    if (one.known_size > size) {
      co_return fail(Code::unavailable,
                     fmt::format("the witness has cosigned {} entries, and this log has {}: another daemon "
                                 "signed them, or the log lost its tail",
                                 one.known_size, size));
    }
  }
  co_return fail(Code::unavailable, "the witness answers with another size each time", Retry::safe);
}

void Witnesses::note_failure(One& one, WitnessState state, const Error& error) {
  one.due = clock_.monotonic() + one.backoff.next();
  if (state != one.status.state) {
    const bool alarm = state == WitnessState::inconsistent;
    log::write(alarm ? log::Level::error : log::Level::warning, "audit",
               alarm ? "a witness holds the log to be forked" : "a witness did not cosign",
               {{"witness", one.status.name}, {"state", to_string(state)}, {"error", error}});
  }
  one.status.state = state;
  one.status.last_error = error;
  ++one.status.failures_total;
}

WitnessesStatus Witnesses::status() const {
  WitnessesStatus out{.witnesses = {}, .quorum = policy_.quorum()};
  for (const auto& one : ones_) out.witnesses.push_back(one.status);
  return out;
}

}  // namespace citadel::audit
