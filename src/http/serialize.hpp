// Serialize: a Response as bytes, head and body in one string. Pure.
#pragma once
#include <string>
#include <string_view>

#include "http/message.hpp"

namespace citadel::http {

struct AnswerOptions {
  bool keep_alive = true;
  bool http_1_1 = true;
  bool head_only = false;  // the answer to HEAD: Content-Length of the body, without it
  std::string_view request_id = {};
  std::string_view date = {};
};

// Appends. Control characters in a header's value become spaces, so no value can begin another header.
void append_answer(const Response& response, const AnswerOptions& options, std::string& out);

}  // namespace citadel::http
