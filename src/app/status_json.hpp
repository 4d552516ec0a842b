// Parts of /v1/status that stand in it more than once.
#pragma once
#include <boost/json/object.hpp>

#include "drain/drain.hpp"
#include "journal/journal.hpp"

namespace citadel::app {

boost::json::object journal_json(const journal::Status& journal);
boost::json::object drain_json(const drain::Status& drain);

}  // namespace citadel::app
