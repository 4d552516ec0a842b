// A value of Boost.JSON as text. Boost 1.81 writes a double as 1.5E0; people read our answers too.
#pragma once
#include <boost/json/value.hpp>
#include <string>

namespace citadel::json {

// As Writer writes it: doubles as the shortest text that reads back as the same double. At most 64 values
// deep (CHECK), which parse() with its own limit never passes.
std::string serialize(const boost::json::value& value);

}  // namespace citadel::json
