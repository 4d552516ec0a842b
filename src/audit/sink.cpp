#include "audit/sink.hpp"

namespace citadel::audit {
namespace {

class AuditSink final : public drain::Sink {
 public:
  explicit AuditSink(Sequencer& sequencer) : sequencer_(sequencer) {}
  journal::Kind kind() const override { return journal::Kind::audit_event; }

  Task<Result<void>> prepare(store::Database& database, std::span<const journal::Frame> frames,
                             Deadline deadline) override {
    return sequencer_.prepare(database, frames, deadline);
  }
  Task<Result<drain::SinkOutcome>> write(pg::Transaction& transaction, drain::Origin origin,
                                         std::span<const journal::Frame> frames, Deadline deadline) override {
    return sequencer_.append(transaction, origin, frames, deadline);
  }
  Task<Result<void>> refused(pg::Transaction& transaction, drain::Origin origin, const journal::Frame& frame,
                             const Error& reason, Deadline deadline) override {
    return sequencer_.append_refused(transaction, origin, frame, reason, deadline);
  }

 private:
  Sequencer& sequencer_;
};

}  // namespace

std::unique_ptr<drain::Sink> make_audit_sink(Sequencer& sequencer) {
  return std::make_unique<AuditSink>(sequencer);
}

}  // namespace citadel::audit
