#include "http/router.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace citadel::http {
namespace {

Task<Response> nothing(Request&) {
  co_return Response{};
}

Router example() {
  Router router;
  router.add(Method::get, "/v1/requests", {}, nothing);
  router.add(Method::post, "/v1/requests", {}, nothing);
  router.add(Method::get, "/v1/requests/{id}", {}, nothing);
  router.add(Method::delete_, "/v1/requests/{key}", {}, nothing);
  router.add(Method::get, "/v1/requests/latest", {}, nothing);
  router.add(Method::get, "/v1/{kind}/of/{name}", {}, nothing);
  router.add(Method::get, "/", {}, nothing);
  router.add(Method::get, "/tlog/tile/{path...}", {}, nothing);
  router.add(Method::get, "/tlog/tile/fixed", {}, nothing);
  return router;
}

// "pattern name=value …", "404", "405 allow" or "400".
std::string matched(Method method, std::string target) {
  static const Router router = example();
  Request request;
  request.method = method;
  request.target = std::move(target);
  const auto match = router.match(request);
  if (!match) return "400";
  if (std::holds_alternative<Router::NotFound>(*match)) return "404";
  if (const auto* wrong = std::get_if<Router::WrongMethod>(&*match)) return "405 " + wrong->allow;
  EXPECT_EQ(std::get<const Route*>(*match)->pattern, request.route);
  std::string text = request.route;
  for (const auto& [name, value] : request.path_parameters) text += " " + name + "=" + value;
  return text;
}

TEST(Router, MatchesLiteralsBeforeParameters) {
  EXPECT_EQ(matched(Method::get, "/v1/requests"), "/v1/requests");
  EXPECT_EQ(matched(Method::get, "/v1/requests?a=/b"), "/v1/requests");
  EXPECT_EQ(matched(Method::get, "/v1/requests/17"), "/v1/requests/{id} id=17");
  EXPECT_EQ(matched(Method::delete_, "/v1/requests/17"), "/v1/requests/{key} key=17");
  EXPECT_EQ(matched(Method::get, "/v1/requests/latest"), "/v1/requests/latest");
  EXPECT_EQ(matched(Method::get, "/v1/requests/of/x"), "/v1/{kind}/of/{name} kind=requests name=x");
  EXPECT_EQ(matched(Method::get, "/"), "/");
}

TEST(Router, DecodesParameters) {
  EXPECT_EQ(matched(Method::get, "/v1/requests/a%2Fb%20c+d"), "/v1/requests/{id} id=a/b c+d");
  EXPECT_EQ(matched(Method::get, "/v1/requests/a%zz"), "400");
  EXPECT_EQ(matched(Method::get, "/v1/requests/a%00"), "400");
}

TEST(Router, TheRestOfThePathIsTakenAsItWasSent) {
  EXPECT_EQ(matched(Method::get, "/tlog/tile/0/x001/067.p/112?a=b"),
            "/tlog/tile/{path...} path=0/x001/067.p/112");
  EXPECT_EQ(matched(Method::get, "/tlog/tile/0"), "/tlog/tile/{path...} path=0");
  EXPECT_EQ(matched(Method::get, "/tlog/tile/"), "/tlog/tile/{path...} path=");
  EXPECT_EQ(matched(Method::get, "/tlog/tile//0"), "/tlog/tile/{path...} path=/0");
  EXPECT_EQ(matched(Method::get, "/tlog/tile/0/"), "/tlog/tile/{path...} path=0/");
  EXPECT_EQ(matched(Method::get, "/tlog/tile/a%2Fb"), "/tlog/tile/{path...} path=a%2Fb");
  EXPECT_EQ(matched(Method::get, "/tlog/tile/fixed"), "/tlog/tile/fixed");
  EXPECT_EQ(matched(Method::get, "/tlog/tile"), "404");
}

TEST(Router, NotListedIsNotFound) {
  for (const auto* path :
       {"/v1", "/v1/requests/", "/v1/requests/1/2", "/V1/requests", "//", "*", "", "/v1//of/x"}) {
    EXPECT_EQ(matched(Method::get, path), "404") << path;
  }
}

TEST(Router, WrongMethodSaysWhichAreAllowed) {
  EXPECT_EQ(matched(Method::put, "/v1/requests"), "405 GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(matched(Method::other, "/v1/requests/x"), "405 DELETE, GET, HEAD, OPTIONS");
  EXPECT_EQ(matched(Method::head, "/v1/requests"), "/v1/requests");
}

TEST(RouterDeathTest, AWrongPatternIsABug) {
  Router router;
  EXPECT_DEATH(router.add(Method::get, "x", {}, nothing), "starts with");
  EXPECT_DEATH(router.add(Method::get, "/{", {}, nothing), "\\{name\\}");
  EXPECT_DEATH(router.add(Method::get, "/a{b}", {}, nothing), "plain text");
  EXPECT_DEATH(router.add(Method::get, "/a/{b...}/c", {}, nothing), "last segment");
  EXPECT_DEATH(router.add(Method::get, "/a", {}, nullptr), "handler");
  router.add(Method::get, "/a/{b}", {}, nothing);
  EXPECT_DEATH(router.add(Method::get, "/a/{c}", {}, nothing), "added once");
}

}  // namespace
}  // namespace citadel::http
