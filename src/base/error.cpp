#include "base/error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace citadel {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return "invalid_argument";
    case Code::not_found:
      return "not_found";
    case Code::conflict:
      return "conflict";
    case Code::constraint:
      return "constraint";
    case Code::unauthenticated:
      return "unauthenticated";
    case Code::permission_denied:
      return "permission_denied";
    case Code::deadline_exceeded:
      return "deadline_exceeded";
    case Code::cancelled:
      return "cancelled";
    case Code::overloaded:
      return "overloaded";
    case Code::unavailable:
      return "unavailable";
    case Code::connection_lost:
      return "connection_lost";
    case Code::commit_unknown:
      return "commit_unknown";
    case Code::serialization_failure:
      return "serialization_failure";
    case Code::deadlock:
      return "deadlock";
    case Code::statement_timeout:
      return "statement_timeout";
    case Code::storage_full:
      return "storage_full";
    case Code::io_error:
      return "io_error";
    case Code::corrupt:
      return "corrupt";
    case Code::unsupported:
      return "unsupported";
    case Code::internal:
      return "internal";
  }
  return "internal";
}

Error Error::in(std::string_view place) && {
  if (!where.empty()) where += " < ";
  where += place;
  return std::move(*this);
}

Error Error::in(std::string_view place) const& {
  return Error(*this).in(place);
}

std::string Error::to_string() const {
  std::string out(citadel::to_string(code));
  if (sqlstate[0] != '\0') out += fmt::format(" ({})", sqlstate);
  out += fmt::format(": {}", message);
  if (!where.empty()) out += fmt::format(" [{}]", where);
  return out;
}

std::unexpected<Error> fail_errno(int error_number, std::string_view what) {
  Code code = Code::io_error;
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      code = Code::storage_full;
      break;
    case EACCES:
    case EPERM:
      code = Code::permission_denied;
      break;
    case ENOENT:
      code = Code::not_found;
      break;
    default:
      break;
  }
  return fail(code, fmt::format("{}: {}", what, std::generic_category().message(error_number)));
}

}  // namespace citadel
