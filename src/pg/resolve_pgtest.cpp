// A host name with more than one address. The machine's names are left alone: this program's own getaddrinfo
// knows one more.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <netdb.h>

#include <boost/asio/ip/tcp.hpp>

#include <string_view>

#include "pg/pgtest.hpp"

namespace {

constexpr const char* two_addresses = "two.citadel.test";

}  // namespace

// The linker takes it before the C library's. glibc frees a list node by node, so two lists may become one.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** found) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (node == nullptr || std::string_view(node) != two_addresses) return real(node, service, hints, found);
  addrinfo* first = nullptr;
  addrinfo* second = nullptr;
  // The servers listen on 127.0.0.1 alone.
  if (const int error = real("127.0.0.2", service, hints, &first)) return error;
  if (const int error = real("127.0.0.1", service, hints, &second)) return error;
  addrinfo* last = first;
  while (last->ai_next != nullptr) last = last->ai_next;
  last->ai_next = second;
  *found = first;
  return 0;
}

namespace citadel::pg {
namespace {

using ResolveTest = PgTest;

TEST_F(ResolveTest, WhereNobodyListensAtTheFirstAddressTheNextIsTried) {
  run([this]() -> Task<> {
    auto options = options_for(Route::pgpool);
    options.host = "127.0.0.2";
    EXPECT_CODE(co_await Connection::connect(context_.get_executor(), options, soon()), Code::unavailable);
    options.host = two_addresses;
    const auto db = co_await Connection::connect(context_.get_executor(), options, soon());
    CO_ASSERT_OK(db);
  });
}

TEST_F(ResolveTest, WhereNobodyAnswersAtTheFirstAddressTheNextGetsItsShareOfTheTime) {
  run([this]() -> Task<> {
    auto options = options_for(Route::pgpool);
    // The kernel accepts, and nobody ever reads.
    const asio::ip::tcp::acceptor silent(
        context_, {asio::ip::make_address("127.0.0.2"), static_cast<std::uint16_t>(options.port)});
    options.host = two_addresses;
    const auto db = co_await Connection::connect(context_.get_executor(), options,
                                                 Deadline::after(std::chrono::seconds(6)));
    CO_ASSERT_OK(db);
  });
}

}  // namespace
}  // namespace citadel::pg
