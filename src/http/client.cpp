#include "http/client.hpp"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <limits>
#include <optional>

#include "base/check.hpp"
#include "http/answer_reader.hpp"

namespace citadel::http {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t read_step_bytes = 64 * 1024;
constexpr std::size_t tls_step_bytes = 17 * 1024;  // a record at its largest
const auto tuple = asio::as_tuple(asio::use_awaitable);

}  // namespace

Result<UrlPlace> parse_http_or_https_url(std::string_view url) {
  const auto bad = [&] {
    return fail(Code::invalid_argument, fmt::format("'{}' is not a URL like http://127.0.0.1:8480", url));
  };
  std::string_view rest = url;
  constexpr std::string_view plain = "http://", by_tls = "https://";
  UrlPlace place{.https = rest.starts_with(by_tls), .host = {}};
  if (!place.https && !rest.starts_with(plain)) return bad();
  place.port = place.https ? 443 : 80;
  rest.remove_prefix(place.https ? by_tls.size() : plain.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  auto host_end = rest.starts_with('[') ? rest.find(']') : rest.find(':');
  if (rest.starts_with('[')) {
    if (host_end == std::string_view::npos) return bad();
    place.host = rest.substr(1, host_end - 1);
    ++host_end;
  } else {
    host_end = std::min(host_end, rest.size());
    place.host = rest.substr(0, host_end);
  }
  rest.remove_prefix(host_end);
  if (place.host.empty() || place.host.find_first_of("/?#@ ") != std::string::npos) return bad();
  if (rest.empty()) return place;
  rest.remove_prefix(1);
  const auto [end, failure] = std::from_chars(rest.data(), rest.data() + rest.size(), place.port);
  if (url[url.size() - 1] == ':' || failure != std::errc() || end != rest.data() + rest.size() ||
      place.port == 0) {
    return bad();
  }
  return place;
}

Result<ClientOptions> parse_url(std::string_view url) {
  CITADEL_ASSIGN(auto place, parse_http_or_https_url(url));
  if (place.https)
    return fail(Code::invalid_argument, fmt::format("'{}' is https; this one is reached by http only", url));
  ClientOptions options;
  options.host = std::move(place.host);
  options.port = place.port;
  return options;
}

struct Client::State : std::enable_shared_from_this<State> {
  State(Executor e, ClientOptions o) : executor(e), options(std::move(o)), resolver(e), timer(e) {}

  // One timer for the life of the connection: it is set again only when it fires or a call is due before it.
  void begin(Deadline deadline) {
    // The rest of a stream that was not read to its end is not to be taken for the next answer.
    if (std::exchange(stream, nullptr)) drop();
    resume(deadline);
  }

  void resume(Deadline deadline) {
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

  std::string place() const { return fmt::format("{}:{}", options.host, options.port); }

  bool connected() const { return socket && socket->is_open(); }

  std::unexpected<Error> failure(Code code, std::string_view what, const error_code& error) {
    drop();
    if (timed_out)
      return fail(Code::deadline_exceeded, fmt::format("{} {} did not end in time", what, place()));
    return fail(code, fmt::format("{} {}: {}", what, place(), error.message()),
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
    if (options.tls) co_return co_await shake_hands();
    co_return Result<void>();
  }

  // What TLS says, with where; what it failed by, a timeout included, is over.
  std::unexpected<Error> tls_failure(const Error& error) {
    if (timed_out) return failure(error.code, "the TLS handshake with", {});
    drop();
    return fail(error.code, fmt::format("{}: {}", place(), error.message));
  }

  Task<Result<void>> shake_hands() {
    auto made = crypto::TlsClient::make(*options.tls, options.host);
    if (!made) co_return tls_failure(made.error());
    tls.emplace(*std::move(made));
    for (;;) {
      auto done = tls->handshake();
      // Its last word too, which tells the other side what was wrong.
      const auto sent = co_await send_as_it_is(tls->take());
      if (!done) co_return tls_failure(done.error());
      CITADEL_CO_TRY(sent);
      if (*done) co_return Result<void>();
      const auto received = co_await receive_tls();
      if (received) co_return failure(Code::connection_lost, "the TLS handshake with", received);
    }
  }

  // More of what the other side says, not opened yet.
  Task<error_code> receive_tls() {
    cipher.resize(tls_step_bytes);
    const auto [error, size] = co_await socket->async_read_some(asio::buffer(cipher), tuple);
    if (!error && timed_out) co_return asio::error::operation_aborted;  // what it would go into is dropped
    if (!error) tls->put(std::string_view(cipher).substr(0, size));
    co_return error;
  }

  Task<Result<void>> send(std::string_view bytes) {
    if (!tls) co_return co_await send_as_it_is(bytes);
    if (const auto written = tls->write(bytes); !written) co_return tls_failure(written.error());
    const auto sealed = tls->take();
    co_return co_await send_as_it_is(sealed);
  }

  Task<Result<void>> send_as_it_is(std::string_view bytes) {
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

  // Into `in` from `at` on, where read_step_bytes are free.
  Task<std::pair<error_code, std::size_t>> read_into(std::size_t at) {
    if (!tls) {
      const auto [error, size] =
          co_await socket->async_read_some(asio::buffer(in.data() + at, read_step_bytes), tuple);
      co_return std::pair(error, size);
    }
    for (;;) {
      const auto read = tls->read({in.data() + at, read_step_bytes});
      if (!read) co_return std::pair(error_code(asio::error::connection_aborted), std::size_t{0});
      if (read->got == crypto::TlsClient::Got::bytes) co_return std::pair(error_code(), read->size);
      if (read->got == crypto::TlsClient::Got::ended)
        co_return std::pair(error_code(asio::error::eof), std::size_t{0});
      auto error = co_await receive_tls();
      // The end of the connection is anybody's doing: it does not end an answer.
      if (error == asio::error::eof) error = asio::error::connection_reset;
      if (error) co_return std::pair(error, std::size_t{0});
    }
  }

  // Into the free end of `in`.
  Task<std::pair<error_code, std::size_t>> read() {
    in.erase(0, std::exchange(in_begin, 0));
    const std::size_t before = in.size();
    in.resize(before + read_step_bytes);
    const auto [error, size] = co_await read_into(before);
    // A timeout has dropped what was there.
    if (in.size() >= before + read_step_bytes) in.resize(before + size);
    co_return std::pair(error, size);
  }

  std::string_view unread() const { return std::string_view(in).substr(in_begin); }

  AnswerReader reader_of(Method method, std::uint64_t body_bytes_max) const {
    return AnswerReader(method, {options.response_header_bytes_max, body_bytes_max});
  }

  // One more step of an answer: its head, or its end, or `body` is no longer empty. `got_some` tells whether
  // any byte arrived.
  Task<Result<AnswerReader::Step>> advance(AnswerReader& reader, std::string& body, bool& got_some) {
    using Step = AnswerReader::Step;
    for (;;) {
      got_some = got_some || in_begin < in.size();
      std::size_t consumed = 0;
      auto step = reader.read(unread(), consumed, body);
      in_begin += consumed;
      if (step == Step::malformed) {
        drop();
        co_return fail(Code::corrupt,
                       fmt::format("not a valid answer from {}: {}", place(), reader.detail()));
      }
      if (step == Step::need_more && body.empty()) {
        const auto [failed, size] = co_await read();
        if (!failed) continue;
        if (failed != asio::error::eof || reader.finish() != Step::complete) {
          co_return failure(Code::connection_lost, "no whole answer from", failed);
        }
        step = Step::complete;
      }
      if (step == Step::complete && !reader.keep_alive()) drop_after = true;
      co_return step;
    }
  }

  // What follows the head, into response.body.
  Task<Result<void>> receive_body(AnswerReader& reader, ClientResponse& response) {
    bool got_some = true;
    response.status = reader.status();
    std::string piece;
    for (;;) {
      piece.clear();
      CITADEL_CO_ASSIGN(const auto step, co_await advance(reader, piece, got_some));
      response.body += piece;
      if (step == AnswerReader::Step::complete) break;
    }
    response.headers = reader.take_headers();
    co_return Result<void>();
  }

  // The next answer.
  Task<Result<ClientResponse>> receive(Method method) {
    auto reader = reader_of(method, options.response_body_bytes_max);
    ClientResponse response;
    bool got_some = false;
    CITADEL_CO_TRY(co_await advance(reader, response.body, got_some));
    CITADEL_CO_TRY(co_await receive_body(reader, response));
    co_return response;
  }

  // Sends a request and reads the head of its answer.
  Task<Result<AnswerReader>> open(std::string bytes, Method method, std::uint64_t body_bytes_max) {
    for (bool reused = connected();; reused = false) {
      if (!reused) CITADEL_CO_TRY(co_await connect());
      bool got_some = false;
      auto reader = reader_of(method, body_bytes_max);
      std::string body;  // stays empty: a step ends at the head
      Result<void> step = co_await send(bytes);
      if (step) {
        if (const auto head = co_await advance(reader, body, got_some); !head) {
          step = std::unexpected(head.error());
        }
      }
      if (step) co_return reader;
      finish();
      const bool harmless = method == Method::get || method == Method::head;
      if (!reused || got_some || !harmless || step.error().code != Code::connection_lost) {
        co_return std::unexpected(step.error());
      }
    }
  }

  Task<Result<ClientResponse>> exchange(std::string bytes, Method method) {
    CITADEL_CO_ASSIGN(auto reader, co_await open(std::move(bytes), method, options.response_body_bytes_max));
    ClientResponse response;
    auto rest = co_await receive_body(reader, response);
    finish();
    if (!rest) co_return std::unexpected(rest.error());
    co_return response;
  }

  void finish() {
    if (std::exchange(drop_after, false)) drop();
  }

  Executor executor;
  ClientOptions options;
  std::optional<tcp::socket> socket;
  std::optional<crypto::TlsClient> tls;  // of this connection; stays until the next
  std::string cipher;                    // of its last receive
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
  const void* stream = nullptr;  // the AnswerStream::Reading that the connection belongs to
};

struct AnswerStream::Reading {
  Reading(std::shared_ptr<Client::State> s, AnswerReader r) : state(std::move(s)), reader(std::move(r)) {
    state->stream = this;
  }
  ~Reading() {
    if (!owns()) return;
    state->stream = nullptr;
    state->drop();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  bool owns() const { return state->stream == this; }

  std::shared_ptr<Client::State> state;
  AnswerReader reader;
  bool ended = false;
};

AnswerStream::AnswerStream() = default;
AnswerStream::AnswerStream(std::unique_ptr<Reading> reading) : reading_(std::move(reading)) {}
AnswerStream::~AnswerStream() = default;
AnswerStream::AnswerStream(AnswerStream&&) noexcept = default;
AnswerStream& AnswerStream::operator=(AnswerStream&&) noexcept = default;

int AnswerStream::status() const {
  return reading_->reader.status();
}

const Headers& AnswerStream::headers() const {
  return reading_->reader.headers();
}

Task<Result<std::optional<std::string>>> AnswerStream::next(Deadline deadline) {
  auto& reading = *reading_;
  if (reading.ended) co_return std::optional<std::string>();
  CITADEL_CHECK(reading.owns(), "a stream is not read on after the client's next call");
  auto state = reading.state;
  state->resume(deadline);
  std::string piece;
  bool got_some = true;
  const auto step = co_await state->advance(reading.reader, piece, got_some);
  state->busy = false;
  if (step && *step != AnswerReader::Step::complete) co_return std::optional(std::move(piece));
  state->stream = nullptr;
  state->finish();
  reading.ended = step.has_value();
  if (!step) co_return std::unexpected(step.error());
  if (piece.empty()) co_return std::optional<std::string>();
  co_return std::optional(std::move(piece));
}

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

Task<Result<AnswerStream>> Client::stream(ClientRequest request, Deadline head) {
  auto state = state_;
  state->begin(head);
  auto reader =
      co_await state->open(encode(request), request.method, std::numeric_limits<std::uint64_t>::max());
  state->busy = false;
  if (!reader) co_return std::unexpected(reader.error());
  co_return AnswerStream(std::make_unique<AnswerStream::Reading>(std::move(state), std::move(*reader)));
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
    auto response = co_await state->receive(requests[i].method);
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
    const auto response = co_await state->receive(Method::get);
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
