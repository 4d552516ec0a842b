// AuditSink: events of the audit journal into the log, by a Sequencer. Each frame becomes exactly one entry,
// also one that cannot be read, and one that PostgreSQL refuses.
#pragma once
#include <memory>

#include "audit/sequencer.hpp"
#include "drain/sink.hpp"

namespace citadel::audit {

// `sequencer` outlives the sink.
std::unique_ptr<drain::Sink> make_audit_sink(Sequencer& sequencer);

}  // namespace citadel::audit
