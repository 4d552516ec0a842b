// TLS to PostgreSQL, with a certificate authority of the test's own: what is verified, and what fails closed.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "pg/pgtest.hpp"
#include "support/process.hpp"

namespace citadel::pg {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

void openssl(const fs::path& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  const auto ended =
      support::run_process(std::move(arguments), "", Deadline::after(30s), {.folder = folder.string()});
  ASSERT_EQ(ended.status, 0) << ended.err;
}

// Servers whose PostgreSQL shows a certificate for "localhost".
class Tls : public PgTest {
 protected:
  static void SetUpTestSuite() {
    servers_ = std::make_unique<support::Servers>();
    folder_ = std::make_unique<support::TempFolder>("tls");
    const fs::path at = *folder_;
    const auto authority = [&](const std::string& name) {
      openssl(at, {"req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=" + name, "-keyout",
                   name + ".key", "-out", name + ".crt"});
    };
    authority("ca");
    authority("stranger");
    openssl(at, {"req", "-new", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                 "-keyout", "server.key", "-out", "server.csr"});
    openssl(at, {"x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                 "-days", "2", "-copy_extensions", "copy", "-out", "server.crt"});
    const std::string data = servers_->sql_as_superuser("SHOW data_directory");
    struct stat owner{};
    ASSERT_EQ(::stat(data.c_str(), &owner), 0);
    for (const std::string file : {"server.key", "server.crt"}) {
      fs::copy_file(at / file, fs::path(data) / file);
      fs::permissions(fs::path(data) / file, fs::perms::owner_read | fs::perms::owner_write);
      ASSERT_EQ(::chown((fs::path(data) / file).c_str(), owner.st_uid, owner.st_gid), 0);
    }
    servers_->sql_as_superuser("ALTER SYSTEM SET ssl = on");
    servers_->sql_as_superuser("SELECT pg_reload_conf()");
  }
  static void TearDownTestSuite() {
    servers_.reset();
    folder_.reset();
  }

  static ConnectOptions options(TlsMode mode, std::string host, std::string_view ca = "") {
    const auto endpoint = (*servers_)->direct();
    ConnectOptions options;
    options.host = std::move(host);
    options.port = endpoint.port;
    options.database = endpoint.database;
    options.user = local::owner_role;
    options.password = (*servers_)->owner_password();
    options.tls = mode;
    if (!ca.empty()) options.tls_ca_file = (*folder_ / ca).string();
    options.route = Route::direct;
    return options;
  }

  Task<Result<std::unique_ptr<Connection>>> attempt(ConnectOptions options) {
    return Connection::connect(context_.get_executor(), std::move(options), soon());
  }
  // Until the server has read its new configuration.
  Task<> wait_for_tls() {
    for (const Deadline limit = soon(); !limit.expired();) {
      if (co_await attempt(options(TlsMode::require, "localhost"))) co_return;
      co_await aio::sleep_for(10ms);  // sleep: the server tells nobody when it has read its files again
    }
    ADD_FAILURE() << "the server never offered TLS";
  }

  static std::unique_ptr<support::Servers> servers_;
  static std::unique_ptr<support::TempFolder> folder_;
};
std::unique_ptr<support::Servers> Tls::servers_;
std::unique_ptr<support::TempFolder> Tls::folder_;

TEST_F(Tls, VerifiesTheAuthorityAndTheName) {
  run([this]() -> Task<> {
    co_await wait_for_tls();
    auto db = co_await attempt(options(TlsMode::verify_full, "localhost", "ca.crt"));
    CO_ASSERT_OK(db);
    const Statement in_use{"tls", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"};
    auto rows = co_await (*db)->execute(in_use, {}, soon());
    CO_ASSERT_OK(rows);
    EXPECT_TRUE((*rows)[0].get<bool>(0));
    CO_ASSERT_OK(co_await attempt(options(TlsMode::verify_ca, "127.0.0.1", "ca.crt")));
    auto off = co_await attempt(options(TlsMode::disable, "localhost"));
    CO_ASSERT_OK(off);
    auto plain = co_await (*off)->execute(in_use, {}, soon());
    CO_ASSERT_OK(plain);
    EXPECT_FALSE((*plain)[0].get<bool>(0));
  });
}

TEST_F(Tls, FailsClosed) {
  run([this]() -> Task<> {
    co_await wait_for_tls();
    const auto wrong_name = co_await attempt(options(TlsMode::verify_full, "127.0.0.1", "ca.crt"));
    EXPECT_CODE(wrong_name, Code::unauthenticated);
    const auto wrong_authority = co_await attempt(options(TlsMode::verify_ca, "localhost", "stranger.crt"));
    EXPECT_CODE(wrong_authority, Code::unauthenticated);
    const auto no_file = co_await attempt(options(TlsMode::verify_full, "localhost", "missing.crt"));
    EXPECT_CODE(no_file, Code::unauthenticated);
  });
}

// Results of several records, whose rest OpenSSL holds back from the socket.
TEST_F(Tls, LargeResultsAndParametersArrive) {
  run([this]() -> Task<> {
    co_await wait_for_tls();
    auto db = co_await attempt(options(TlsMode::require, "localhost"));
    CO_ASSERT_OK(db);
    for (const std::size_t size :
         {std::size_t{8'000}, std::size_t{16'300}, std::size_t{20'000}, std::size_t{3} << 20}) {
      const std::string large(size, 'x');
      auto rows = co_await (*db)->execute({"echo", "SELECT $1::text"}, Params(large), soon());
      CO_ASSERT_OK(rows);
      EXPECT_EQ((*rows)[0].get<std::string_view>(0).size(), size);
    }
    std::int64_t sum = 0;
    auto count =
        co_await (*db)->stream({"series", "SELECT i::int8, repeat('x', 700) FROM generate_series(1, $1) i"},
                               Params(std::int64_t{20'000}), soon(), [&](Row row) -> Result<void> {
                                 sum += row.get<std::int64_t>(0);
                                 return {};
                               });
    CO_ASSERT_OK(count);
    EXPECT_EQ(sum, 20'000LL * 20'001 / 2);
    CO_ASSERT_OK(co_await (*db)->validate(soon()));
  });
}

}  // namespace
}  // namespace citadel::pg
