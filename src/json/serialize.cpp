#include "json/serialize.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "json/writer.hpp"

namespace citadel::json {
namespace {

void write(Writer& out, const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      out.null();
      return;
    case boost::json::kind::bool_:
      out.boolean(value.get_bool());
      return;
    case boost::json::kind::int64:
      out.integer(value.get_int64());
      return;
    case boost::json::kind::uint64:
      out.raw(std::to_string(value.get_uint64()));
      return;
    case boost::json::kind::double_:
      out.number(value.get_double());
      return;
    case boost::json::kind::string:
      out.text(value.get_string());
      return;
    case boost::json::kind::array:
      out.begin_array();
      for (const auto& item : value.get_array()) write(out, item);
      out.end_array();
      return;
    case boost::json::kind::object:
      out.begin_object();
      for (const auto& [name, item] : value.get_object()) {
        out.key(name);
        write(out, item);
      }
      out.end_object();
      return;
  }
}

}  // namespace

std::string serialize(const boost::json::value& value) {
  Writer out;
  write(out, value);
  return out.take();
}

}  // namespace citadel::json
