#include "http/client.hpp"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <charconv>
#include <optional>

namespace citadel::http {
namespace {

namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t read_step_bytes = 64 * 1024;
const auto tuple = asio::as_tuple(asio::use_awaitable);

class Reader final : public beast::http::basic_parser<false> {
 public:
  explicit Reader(ClientResponse& response) : response_(response) {}

 private:
  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, error_code&) override {
  }
  void on_response_impl(int status, beast::string_view, int, error_code&) override {
    response_.status = status;
  }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value,
                     error_code&) override {
    if (!in_body_) response_.headers.add(name, value);
  }
  void on_header_impl(error_code&) override { in_body_ = true; }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view body, error_code&) override {
    response_.body.append(body);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code&) override {
    response_.body.append(body);
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  ClientResponse& response_;
  bool in_body_ = false;
};

}  // namespace

Result<ClientOptions> parse_url(std::string_view url) {
  const auto bad = [&] {
    return fail(Code::invalid_argument, fmt::format("'{}' is not a URL like http://127.0.0.1:8480", url));
  };
  std::string_view rest = url;
  constexpr std::string_view scheme = "http://";
  if (!rest.starts_with(scheme)) return bad();
  rest.remove_prefix(scheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  ClientOptions options;
  options.port = 80;
  auto host_end = rest.starts_with('[') ? rest.find(']') : rest.find(':');
  if (rest.starts_with('[')) {
    if (host_end == std::string_view::npos) return bad();
    options.host = rest.substr(1, host_end - 1);
    ++host_end;
  } else {
    host_end = std::min(host_end, rest.size());
    options.host = rest.substr(0, host_end);
  }
  rest.remove_prefix(host_end);
  if (options.host.empty() || options.host.find_first_of("/?#@ ") != std::string::npos) return bad();
  if (rest.empty()) return options;
  rest.remove_prefix(1);
  const auto [end, failure] = std::from_chars(rest.data(), rest.data() + rest.size(), options.port);
  if (url[url.size() - 1] == ':' || failure != std::errc() || end != rest.data() + rest.size() ||
      options.port == 0) {
    return bad();
  }
  return options;
}

struct Client::State : std::enable_shared_from_this<State> {
  State(Executor e, ClientOptions o) : executor(e), options(std::move(o)), resolver(e), timer(e) {}

  // One timer for the life of the connection: it is set again only when it fires or a call is due before it.
  void begin(Deadline deadline) {
    busy = true;
    timed_out = false;
    due = deadline.when();
    if (!armed || armed_for > due) arm();
  }

  void arm() {
    armed = true;
    armed_for = due;
    timer.expires_at(due);
    timer.async_wait([weak = weak_from_this()](error_code error) {
      auto self = weak.lock();
      if (!self || error == asio::error::operation_aborted) return;
      self->armed = false;
      if (!self->busy) return;
      if (Monotonic::now() < self->due) return self->arm();
      self->timed_out = true;
      self->drop();
      self->resolver.cancel();
    });
  }

  void drop() {
    error_code ignored;
    if (socket) socket->close(ignored);
    in.clear();
    in_begin = 0;
  }

  bool connected() const { return socket && socket->is_open(); }

  std::unexpected<Error> failure(Code code, std::string_view what, const error_code& error) {
    drop();
    const auto place = fmt::format("{}:{}", options.host, options.port);
    if (timed_out)
      return fail(Code::deadline_exceeded, fmt::format("{} {} did not end in time", what, place));
    return fail(code, fmt::format("{} {}: {}", what, place, error.message()),
                code == Code::unavailable ? Retry::safe : Retry::never);
  }

  Task<Result<void>> connect() {
    drop();
    error_code error;
    std::vector<tcp::endpoint> endpoints;
    if (const auto literal = asio::ip::make_address(options.host, error); !error) {
      endpoints.emplace_back(literal, options.port);
    } else {
      const auto [failed, found] =
          co_await resolver.async_resolve(options.host, std::to_string(options.port), tuple);
      if (failed) co_return failure(Code::unavailable, "cannot find the host of", failed);
      endpoints.assign(found.begin(), found.end());
    }
    socket.emplace(executor);
    const auto [failed, endpoint] = co_await asio::async_connect(*socket, endpoints, tuple);
    if (failed) co_return failure(Code::unavailable, "cannot connect to", failed);
    socket->set_option(tcp::no_delay(true), error);
    socket->non_blocking(true, error);
    co_return Result<void>();
  }

  Task<Result<void>> send(std::string_view bytes) {
    error_code error;
    std::size_t written = socket->write_some(asio::buffer(bytes), error);
    if (error == asio::error::would_block || (!error && written < bytes.size())) {
      const auto [failed, size] =
          co_await asio::async_write(*socket, asio::buffer(bytes.substr(written)), tuple);
      error = failed;
    }
    if (error) co_return failure(Code::connection_lost, "cannot send to", error);
    co_return Result<void>();
  }

  // Into the free end of `in`.
  Task<std::pair<error_code, std::size_t>> read() {
    in.erase(0, std::exchange(in_begin, 0));
    const std::size_t before = in.size();
    in.resize(before + read_step_bytes);
    const auto [error, size] =
        co_await socket->async_read_some(asio::buffer(in.data() + before, read_step_bytes), tuple);
    // A timeout has dropped what was there.
    if (in.size() >= before + read_step_bytes) in.resize(before + size);
    co_return std::pair(error, size);
  }

  // The next final answer; `got_some` tells whether any byte of it arrived.
  Task<Result<ClientResponse>> receive(Method method, bool& got_some) {
    for (;;) {
      ClientResponse response;
      Reader reader(response);
      reader.header_limit(static_cast<std::uint32_t>(options.response_header_bytes_max));
      reader.body_limit(options.response_body_bytes_max);
      reader.eager(true);
      reader.skip(method == Method::head);
      while (!reader.is_done()) {
        error_code error = beast::http::error::need_more;
        if (in_begin < in.size()) {
          got_some = true;
          in_begin += reader.put(asio::buffer(in.data() + in_begin, in.size() - in_begin), error);
          if (error && error != beast::http::error::need_more) {
            co_return failure(Code::corrupt, "not a valid answer from", error);
          }
          if (reader.is_done()) break;
        }
        const auto [failed, size] = co_await read();
        if (failed == asio::error::eof && reader.is_header_done() && reader.need_eof()) {
          reader.put_eof(error);
          break;
        }
        if (failed) co_return failure(Code::connection_lost, "no whole answer from", failed);
      }
      if (response.status / 100 == 1) continue;
      if (!reader.keep_alive()) drop_after = true;
      co_return response;
    }
  }

  Task<Result<ClientResponse>> exchange(std::string bytes, Method method) {
    for (bool reused = connected();; reused = false) {
      if (!reused) CITADEL_CO_TRY(co_await connect());
      bool got_some = false;
      const auto sent = co_await send(bytes);
      auto response =
          sent ? co_await receive(method, got_some) : Result<ClientResponse>(std::unexpected(sent.error()));
      finish();
      const bool harmless = method == Method::get || method == Method::head;
      if (response || !reused || got_some || !harmless || response.error().code != Code::connection_lost) {
        co_return response;
      }
    }
  }

  void finish() {
    if (std::exchange(drop_after, false)) drop();
  }

  Executor executor;
  ClientOptions options;
  std::optional<tcp::socket> socket;
  tcp::resolver resolver;
  asio::steady_timer timer;
  std::string in;
  std::size_t in_begin = 0;  // what is before it has been read
  MonotonicTime due = MonotonicTime::max();
  MonotonicTime armed_for{};
  bool armed = false;
  bool busy = false;
  bool timed_out = false;
  bool drop_after = false;
};

Client::Client(Executor executor, ClientOptions options)
    : state_(std::make_shared<State>(std::move(executor), std::move(options))) {}
Client::~Client() {
  if (state_) close();
}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

void Client::close() {
  state_->drop();
  state_->timer.cancel();
  state_->armed = false;
}

std::string Client::encode(const ClientRequest& request) const {
  const auto& options = state_->options;
  const bool v6 = options.host.find(':') != std::string::npos;
  std::string out = fmt::format("{} {} HTTP/1.1\r\nHost: {}{}{}:{}\r\n", to_string(request.method),
                                request.target, v6 ? "[" : "", options.host, v6 ? "]" : "", options.port);
  if (!options.api_key.empty())
    out.append("Authorization: Bearer ").append(options.api_key.reveal()).append("\r\n");
  for (const auto& [name, value] : request.headers)
    out.append(name).append(": ").append(value).append("\r\n");
  const bool may_have_body = request.method != Method::get && request.method != Method::head;
  if (may_have_body || !request.body.empty())
    out += fmt::format("Content-Length: {}\r\n", request.body.size());
  out.append("\r\n").append(request.body);
  return out;
}

Task<Result<ClientResponse>> Client::request(ClientRequest request, Deadline deadline) {
  auto state = state_;
  state->begin(deadline);
  auto response = co_await state->exchange(encode(request), request.method);
  state->busy = false;
  co_return response;
}

Task<Result<ClientResponse>> Client::request(Method method, std::string target,
                                             std::vector<Parameter> headers, std::string body,
                                             Deadline deadline) {
  return request(ClientRequest{method, std::move(target), std::move(headers), std::move(body)}, deadline);
}

Task<Result<std::vector<ClientResponse>>> Client::pipeline(std::vector<ClientRequest> requests,
                                                           Deadline deadline) {
  auto state = state_;
  state->begin(deadline);
  std::string bytes;
  for (const auto& request : requests) bytes += encode(request);
  Result<std::vector<ClientResponse>> responses;
  Result<void> step = state->connected() ? Result<void>() : co_await state->connect();
  if (step) step = co_await state->send(bytes);
  for (std::size_t i = 0; step && i < requests.size(); ++i) {
    bool got_some = false;
    auto response = co_await state->receive(requests[i].method, got_some);
    if (response) {
      responses->push_back(std::move(*response));
    } else {
      step = std::unexpected(response.error());
    }
  }
  state->finish();
  state->busy = false;
  if (!step) co_return std::unexpected(step.error());
  co_return responses;
}

Task<Result<Client::Tally>> Client::pipeline_raw(std::string_view bytes, std::size_t count,
                                                 Deadline deadline) {
  auto state = state_;
  state->begin(deadline);
  Tally tally;
  Result<void> step = state->connected() ? Result<void>() : co_await state->connect();
  if (step) step = co_await state->send(bytes);
  for (std::size_t i = 0; step && i < count; ++i) {
    bool got_some = false;
    const auto response = co_await state->receive(Method::get, got_some);
    if (response) {
      ++tally.by_class[std::clamp(response->status / 100, 1, 5) - 1];
    } else {
      step = std::unexpected(response.error());
    }
  }
  state->finish();
  state->busy = false;
  if (!step) co_return std::unexpected(step.error());
  co_return tally;
}

}  // namespace citadel::http
