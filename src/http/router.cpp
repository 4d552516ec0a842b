#include "http/router.hpp"

#include <fmt/format.h>

#include <array>
#include <map>
#include <set>

#include "base/check.hpp"
#include "http/text.hpp"

namespace citadel::http {

constexpr std::string_view rest_mark = "...}";

// A tree of segments: literals, and at most one parameter child and one child for the rest of the path, whose
// names each route keeps for itself.
struct Router::Node {
  struct Leaf {
    const Route* route = nullptr;
    std::vector<std::string> parameters;
    bool takes_rest = false;  // the last parameter
  };
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter, rest_of_path;
  std::map<Method, Leaf> leaves;

  Node& child(std::string_view segment) {
    auto& slot = segment.ends_with(rest_mark) ? rest_of_path
                 : segment.starts_with('{')   ? parameter
                                              : literals[std::string(segment)];
    if (!slot) slot = std::make_unique<Node>();
    return *slot;
  }

  // Depth is that of the patterns, not of the path, so a long path costs nothing.
  const Node* find(std::string_view path, std::vector<std::string_view>& values) const {
    if (path.empty()) return leaves.empty() ? nullptr : this;
    path.remove_prefix(1);  // the '/'
    const auto segment = path.substr(0, path.find('/'));
    const auto rest = path.substr(segment.size());
    if (const auto literal = literals.find(segment); literal != literals.end()) {
      if (const auto* found = literal->second->find(rest, values)) return found;
    }
    if (parameter && !segment.empty()) {
      values.push_back(segment);
      if (const auto* found = parameter->find(rest, values)) return found;
      values.pop_back();
    }
    if (!rest_of_path) return nullptr;
    values.push_back(path);
    return rest_of_path.get();
  }

  std::string allow() const {
    std::set<std::string_view> names{to_string(Method::options)};
    for (const auto& [method, leaf] : leaves) {
      names.insert(to_string(method));
      if (method == Method::get) names.insert(to_string(Method::head));
    }
    return fmt::format("{}", fmt::join(names, ", "));
  }
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

void Router::add(Method method, std::string_view pattern, RouteOptions options, Handler handler) {
  CITADEL_CHECK(pattern.starts_with('/'), "a route's pattern starts with '/'");
  CITADEL_CHECK(handler != nullptr, "a route has a handler");
  CITADEL_CHECK(method != Method::other, "a route has a known method");
  Node* node = root_.get();
  Node::Leaf leaf;
  for (auto rest = pattern; !rest.empty();) {
    rest.remove_prefix(1);
    const auto segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(segment.size());
    if (segment.starts_with('{')) {
      CITADEL_CHECK(segment.size() > 2 && segment.ends_with('}'), "a parameter is written {name}");
      leaf.takes_rest = segment.ends_with(rest_mark);
      CITADEL_CHECK(!leaf.takes_rest || rest.empty(), "{name...} is the last segment");
      leaf.parameters.emplace_back(
          segment.substr(1, segment.size() - 1 - (leaf.takes_rest ? rest_mark.size() : 1)));
    } else {
      CITADEL_CHECK(segment.find_first_of("{}%?#") == std::string_view::npos,
                    "a literal segment is plain text");
    }
    node = &node->child(segment);
  }
  routes_.push_back(
      std::make_unique<Route>(Route{method, std::string(pattern), options, std::move(handler)}));
  leaf.route = routes_.back().get();
  CITADEL_CHECK(node->leaves.emplace(method, std::move(leaf)).second, "a route is added once");
}

Result<Router::Match> Router::match(Request& request) const {
  std::vector<std::string_view> values;
  const auto path = request.path();
  const auto* node = path.starts_with('/') ? root_->find(path, values) : nullptr;
  if (!node) return Match(NotFound{});
  auto found = node->leaves.find(request.method);
  if (found == node->leaves.end() && request.method == Method::head) found = node->leaves.find(Method::get);
  if (found == node->leaves.end()) return Match(WrongMethod{node->allow()});
  const auto& leaf = found->second;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Parameter parameter{leaf.parameters[i], {}};
    if (leaf.takes_rest && i + 1 == values.size()) {
      parameter.value = values[i];
      request.path_parameters.push_back(std::move(parameter));
      continue;
    }
    CITADEL_TRY(percent_decode(values[i], Plus::literal, "the path", parameter.value));
    request.path_parameters.push_back(std::move(parameter));
  }
  request.route = leaf.route->pattern;
  return Match(leaf.route);
}

std::vector<const Route*> Router::routes() const {
  std::vector<const Route*> all;
  for (const auto& route : routes_) all.push_back(route.get());
  return all;
}

}  // namespace citadel::http
