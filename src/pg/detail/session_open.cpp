// How a Session comes to stand: name resolution and PQconnectPoll, all by the deadline.
#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>

#include <algorithm>
#include <utility>

#include "aio/wait.hpp"
#include "base/log.hpp"
#include "pg/detail/failure.hpp"
#include "pg/detail/session.hpp"

namespace citadel::pg {
namespace {

using Addresses = Result<std::vector<std::string>>;

// More than a host has in earnest; each costs a connect that fails.
constexpr std::size_t addresses_max = 16;

constexpr const char* no_descriptors =
    "no file descriptor is left for a connection: raise the limit (ulimit -n)";

const char* to_sslmode(TlsMode mode) {
  switch (mode) {
    case TlsMode::disable:
      return "disable";
    case TlsMode::prefer:
      return "prefer";
    case TlsMode::require:
      return "require";
    case TlsMode::verify_ca:
      return "verify-ca";
    case TlsMode::verify_full:
      return "verify-full";
  }
  return "verify-full";
}

// The name's addresses as text, in the resolver's order. getaddrinfo blocks, so Asio's thread runs it, and a
// lost one is not waited for.
Task<Addresses> resolve(const Executor& executor, const std::string& host, Deadline deadline) {
  auto shot = std::make_shared<aio::OneShot<Addresses>>(executor);
  auto resolver = std::make_shared<asio::ip::tcp::resolver>(executor);
  resolver->async_resolve(
      host, "", [shot, resolver, host](const boost::system::error_code& error, auto results) {
        if (error || results.empty()) {
          shot->set(fail(Code::unavailable,
                         fmt::format("the host name '{}' has no address: {}", host, error.message()),
                         Retry::safe));
        } else {
          std::vector<std::string> addresses;
          for (const auto& result : results) {
            auto address = result.endpoint().address().to_string();
            if (addresses.size() < addresses_max &&
                std::ranges::find(addresses, address) == addresses.end()) {
              addresses.push_back(std::move(address));
            }
          }
          shot->set(std::move(addresses));
        }
      });
  auto resolved = co_await shot->wait(deadline);
  if (resolved) co_return *std::move(resolved);
  resolver->cancel();
  co_return fail(Code::deadline_exceeded,
                 fmt::format("the host name '{}' was not resolved by the deadline", host));
}

struct Keywords {
  std::vector<const char*> names;
  std::vector<std::string> values;

  void add(const char* name, std::string value) {
    names.push_back(name);
    values.push_back(std::move(value));
  }
  PGconn* start() const {
    std::vector<const char*> keywords(names);
    std::vector<const char*> texts;
    for (const std::string& value : values) texts.push_back(value.c_str());
    keywords.push_back(nullptr);
    texts.push_back(nullptr);
    return PQconnectStartParams(keywords.data(), texts.data(), 0);
  }
};

// The host's name stands beside its address for the certificate's check. `address` is empty where the host is
// one, or a folder.
Keywords keywords_of(const ConnectOptions& options, const std::string& address) {
  Keywords keywords;
  keywords.add("host", options.host);
  if (!address.empty()) keywords.add("hostaddr", address);
  keywords.add("port", std::to_string(options.port));
  keywords.add("dbname", options.database);
  keywords.add("user", options.user);
  keywords.add("password", options.password.reveal());
  keywords.add("passfile", "/dev/null");  // the password comes from the configuration alone
  keywords.add("application_name", options.application_name);
  keywords.add("client_encoding", "UTF8");
  keywords.add("sslmode", to_sslmode(options.tls));
  if (!options.tls_ca_file.empty()) keywords.add("sslrootcert", options.tls_ca_file);
  keywords.add("gssencmode", "disable");
  keywords.add("keepalives", "1");
  keywords.add("keepalives_idle", "10");
  keywords.add("keepalives_interval", "3");
  keywords.add("keepalives_count", "3");
  keywords.add("tcp_user_timeout", std::to_string(options.tcp_user_timeout.count()));
  return keywords;
}

void log_notice(void*, const PGresult* result) {
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  log::debug("pg", "notice", {{"message", message ? message : ""}, {"sqlstate", state ? state : ""}});
}

}  // namespace

Session::Session(Executor executor, PGconn* connection, Secret password)
    : connection_(connection), password_(std::move(password)), watchdog_(executor) {
  PQsetNoticeReceiver(connection_, log_notice, nullptr);
}

bool Session::attach() {
  tls_ = PQsslInUse(connection_) != 0;
  return PQsetnonblocking(connection_, 1) == 0 && watchdog_.attach(PQsocket(connection_));
}

Task<Result<std::unique_ptr<Session>>> Session::open(Executor executor, const ConnectOptions& options,
                                                     Deadline deadline) {
  std::vector<std::string> addresses{""};
  boost::system::error_code not_numeric;
  asio::ip::make_address(options.host, not_numeric);
  if (!options.host.empty() && options.host[0] != '/' && not_numeric) {
    CITADEL_CO_ASSIGN(addresses, co_await resolve(executor, options.host, deadline));
  }
  // libpq would give the first address all of the time, though nobody may answer there.
  for (std::size_t left = addresses.size();; --left) {
    const auto share = deadline.remaining() / static_cast<Monotonic::rep>(left);
    const auto until = left == 1 ? deadline : deadline.within(share);
    auto session = co_await open_at(executor, options, addresses[addresses.size() - left], until);
    // What the server itself refuses, a password for example, it refuses at its other addresses too.
    if (session || left == 1 ||
        (session.error().code != Code::unavailable && session.error().code != Code::deadline_exceeded)) {
      co_return session;
    }
  }
}

Task<Result<std::unique_ptr<Session>>> Session::open_at(Executor executor, const ConnectOptions& options,
                                                        const std::string& address, Deadline deadline) {
  PGconn* connection = keywords_of(options, address).start();
  if (connection == nullptr) co_return fail(Code::overloaded, "no memory for a connection");
  std::unique_ptr<Session> session(new Session(executor, connection, options.password));
  PostgresPollingStatusType next =
      PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
    // libpq may open another socket at any step, so each wait attaches the one it has now.
    if (!session->watchdog_.attach(PQsocket(connection))) co_return fail(Code::overloaded, no_descriptors);
    const auto woke = next == PGRES_POLLING_READING
                          ? co_await session->watchdog_.readable(deadline)
                          : co_await session->watchdog_.readable_or_writable(deadline);
    session->watchdog_.detach();
    if (woke == Watchdog::Woke::timed_out) {
      // Beyond its children Pgpool-II refuses no client: it lets them wait.
      const bool waits = options.route == Route::pgpool && next == PGRES_POLLING_READING;
      co_return fail(Code::deadline_exceeded,
                     fmt::format("{}:{} did not accept the session by the deadline{}", options.host,
                                 options.port, waits ? "; are all of its num_init_children taken?" : ""));
    }
    next = PQconnectPoll(connection);
  }
  if (next != PGRES_POLLING_OK) {
    co_return std::unexpected(failure_of(connection, true, options.password).error);
  }
  if (!session->attach()) co_return fail(Code::overloaded, no_descriptors);
  co_return session;
}

}  // namespace citadel::pg
