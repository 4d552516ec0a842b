// What the handlers of the audit trail share.
#pragma once
#include <boost/json/value.hpp>

#include "aio/wait.hpp"
#include "app/api.hpp"
#include "audit/queries.hpp"
#include "http/problem.hpp"
#include "json/object_reader.hpp"

namespace citadel::app {

using ApiContextPtr = std::shared_ptr<const ApiContext>;

// As problem_response(); names the field as a member of its own where the message begins with one, and says
// of a log that was tampered with which entry it is: that is no secret, and what people look for.
http::Response audit_problem(const http::Request& request, const Error& error);

// The body, which must be one object.
Result<boost::json::value> read_object(const http::Request& request);
// Why somebody does it: it stands in the log for ever, and has to say something.
std::string read_reason(json::ObjectReader& in);

// Runs on the data plane, where the database and the publisher live.
template <class T>
Task<T> on_data_plane(const ApiContext& context, Task<T> task) {
  return aio::run_on(context.database.executor(), std::move(task));
}

// Who asks, for the entry that says so.
audit::Actor actor_of(const http::Request& request);
// Records that the trail is read, before anything of it is given: what cannot be recorded is refused.
Task<Result<void>> record_access(ApiContextPtr context, http::Request& request, std::string_view action,
                                 audit::Object object, std::string what);

// The latest checkpoint that is signed; unavailable where there is none yet.
Task<Result<audit::StoredCheckpoint>> latest_checkpoint(ApiContextPtr context);

}  // namespace citadel::app
