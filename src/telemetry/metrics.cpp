#include "telemetry/metrics.hpp"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>

#include "base/check.hpp"

namespace citadel::telemetry {

struct Histogram::Series {
  explicit Series(std::vector<double> upper) : bounds(std::move(upper)), counts(bounds.size() + 1) {}
  const std::vector<double> bounds;
  std::vector<std::atomic<std::uint64_t>> counts;  // one a bucket, not cumulative; the last one is +Inf
  std::atomic<double> sum{0};
};

namespace {

// Orders label values, those of a series and those that are asked for, so that looking one up makes no copy.
struct LabelLess {
  using is_transparent = void;
  bool operator()(const auto& left, const auto& right) const {
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                        std::less<std::string_view>());
  }
};

}  // namespace

// Series never leave and never move, so a handle is a plain pointer.
struct Family {
  Kind kind;
  std::string name, help;
  std::vector<std::string> labels;
  std::vector<double> bounds;
  double counter_unit = 1;  // what one step of a counter is worth when it is rendered
  template <class Value>
  using Series = std::map<std::vector<std::string>, Value, LabelLess>;
  std::mutex mutex;
  Series<std::atomic<std::uint64_t>> counters;
  Series<std::atomic<double>> gauges;
  Series<Histogram::Series> histograms;

  template <class Map, class... Arguments>
  auto* find_or_make(Map& series, std::initializer_list<std::string_view> values, Arguments&&... arguments) {
    CITADEL_CHECK(values.size() == labels.size(), "as many label values as the family has labels");
    const std::lock_guard lock(mutex);
    if (const auto found = series.find(values); found != series.end()) return &found->second;
    std::vector<std::string> key(values.begin(), values.end());
    if (series.size() >= series_max) key.assign(labels.size(), "overflow");
    return &series.try_emplace(std::move(key), std::forward<Arguments>(arguments)...).first->second;
  }
};

struct Metrics::Impl {
  std::mutex families_mutex;
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families;
  // Held while the callbacks run, so that ending a registration waits for them.
  std::mutex callbacks_mutex;
  std::map<std::uint64_t, std::function<void()>> callbacks;
  std::uint64_t next_callback = 1;
};

namespace {

bool is_snake_case(std::string_view text) {
  return !text.empty() && text.front() >= 'a' && text.front() <= 'z' && text.back() != '_' &&
         text.find("__") == std::string_view::npos && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

// Units that are not base units, as a word of the name.
constexpr std::array<std::string_view, 15> foreign_units{
    "ms",   "us", "ns",  "milliseconds", "microseconds", "nanoseconds", "minutes", "hours",
    "days", "kb", "kib", "mb",           "mib",          "kilobytes",   "percent"};

std::optional<std::string> foreign_unit(std::string_view name) {
  while (!name.empty()) {
    const auto word = name.substr(0, name.find('_'));
    if (std::ranges::find(foreign_units, word) != foreign_units.end()) return std::string(word);
    name.remove_prefix(std::min(name.size(), word.size() + 1));
  }
  return std::nullopt;
}

prometheus::ClientMetric with_labels(const Family& family, const std::vector<std::string>& values) {
  prometheus::ClientMetric metric;
  for (std::size_t i = 0; i < values.size(); ++i) metric.label.push_back({family.labels[i], values[i]});
  return metric;
}

prometheus::ClientMetric::Histogram snapshot(const Histogram::Series& series) {
  prometheus::ClientMetric::Histogram out;
  // The count is made from the buckets that were read, so that "+Inf" and the count agree in every scrape.
  for (std::size_t i = 0; i < series.counts.size(); ++i) {
    out.sample_count += series.counts[i].load(std::memory_order_relaxed);
    const double bound =
        i < series.bounds.size() ? series.bounds[i] : std::numeric_limits<double>::infinity();
    out.bucket.push_back({out.sample_count, bound});
  }
  out.sample_sum = series.sum.load(std::memory_order_relaxed);
  return out;
}

prometheus::MetricFamily snapshot(Family& family) {
  prometheus::MetricFamily out;
  out.name = family.name;
  out.help = family.help;
  out.type = family.kind == Kind::counter ? prometheus::MetricType::Counter
             : family.kind == Kind::gauge ? prometheus::MetricType::Gauge
                                          : prometheus::MetricType::Histogram;
  const std::lock_guard lock(family.mutex);
  for (const auto& [values, value] : family.counters) {
    auto metric = with_labels(family, values);
    metric.counter.value = static_cast<double>(value.load(std::memory_order_relaxed)) * family.counter_unit;
    out.metric.push_back(std::move(metric));
  }
  for (const auto& [values, value] : family.gauges) {
    auto metric = with_labels(family, values);
    metric.gauge.value = value.load(std::memory_order_relaxed);
    out.metric.push_back(std::move(metric));
  }
  for (const auto& [values, series] : family.histograms) {
    auto metric = with_labels(family, values);
    metric.histogram = snapshot(series);
    out.metric.push_back(std::move(metric));
  }
  return out;
}

}  // namespace

std::optional<std::string> naming_fault(Kind kind, std::string_view name,
                                        const std::vector<std::string>& labels) {
  if (!name.starts_with("citadel_") && !name.starts_with("process_")) return "does not begin with citadel_";
  if (!is_snake_case(name)) return "is not lower_snake_case";
  if (name.ends_with("_total") != (kind == Kind::counter)) {
    return kind == Kind::counter ? "a counter's name ends with _total"
                                 : "only a counter's name ends with _total";
  }
  for (const std::string_view reserved : {"_count", "_sum", "_bucket"}) {
    if (name.ends_with(reserved))
      return fmt::format("ends with {}, which belongs to histograms' series", reserved);
  }
  if (const auto unit = foreign_unit(name)) {
    return fmt::format("'{}' is not a base unit; use seconds, bytes or a ratio", *unit);
  }
  for (const auto& label : labels) {
    if (!is_snake_case(label)) return fmt::format("label '{}' is not lower_snake_case", label);
    if (label == "le" || label == "quantile") return fmt::format("label '{}' is reserved", label);
    if (std::ranges::count(labels, label) > 1) return fmt::format("label '{}' stands there twice", label);
  }
  return std::nullopt;
}

void Counter::raise_to(std::uint64_t total) const {
  auto now = value_->load(std::memory_order_relaxed);
  while (now < total && !value_->compare_exchange_weak(now, total, std::memory_order_relaxed)) {
  }
}

void Histogram::observe(double value) const {
  // Not a number belongs to no bucket and would make the sum useless for ever.
  if (std::isnan(value)) return;
  const auto& bounds = series_->bounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin();
  series_->counts[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  series_->sum.fetch_add(value, std::memory_order_relaxed);
}

std::vector<double> latency_buckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
          0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};
}

std::vector<double> exponential_buckets(double first, double factor, std::size_t count) {
  CITADEL_CHECK(first > 0 && factor > 1 && count > 0, "buckets grow from a positive bound");
  std::vector<double> bounds;
  for (double bound = first; bounds.size() < count; bound *= factor) bounds.push_back(bound);
  return bounds;
}

Counter CounterFamily::with(std::initializer_list<std::string_view> values) const {
  return Counter(family_->find_or_make(family_->counters, values, 0u));
}
Gauge GaugeFamily::with(std::initializer_list<std::string_view> values) const {
  return Gauge(family_->find_or_make(family_->gauges, values, 0.0));
}
Histogram HistogramFamily::with(std::initializer_list<std::string_view> values) const {
  return Histogram(family_->find_or_make(family_->histograms, values, family_->bounds));
}

Registration::Registration(Registration&& other) noexcept
    : metrics_(std::exchange(other.metrics_, nullptr)), id_(other.id_) {}

Registration& Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    end();
    metrics_ = std::exchange(other.metrics_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

Registration::~Registration() {
  end();
}

void Registration::end() {
  if (auto* metrics = std::exchange(metrics_, nullptr)) {
    const std::lock_guard lock(metrics->impl_->callbacks_mutex);
    metrics->impl_->callbacks.erase(id_);
  }
}

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}

Metrics::~Metrics() {
  CITADEL_CHECK(impl_->callbacks.empty(), "registrations end before their Metrics");
}

Family* Metrics::family(Kind kind, std::string_view name, std::string_view help,
                        std::vector<std::string> labels, std::vector<double> bounds) {
  const auto fault = naming_fault(kind, name, labels);
  CITADEL_CHECK(!fault, fmt::format("metric {}: {}", name, fault.value_or("")).c_str());
  CITADEL_CHECK(
      !help.empty() && std::ranges::all_of(help, [](char c) { return c >= ' ' && c <= '~' && c != '\\'; }),
      "a metric's help is one line of plain text");
  CITADEL_CHECK(
      kind != Kind::histogram || (!bounds.empty() && std::ranges::is_sorted(bounds, std::less_equal<>())),
      "a histogram's bounds go up");
  const std::lock_guard lock(impl_->families_mutex);
  auto& slot = impl_->families[std::string(name)];
  if (!slot) {
    slot = std::make_unique<Family>();
    slot->kind = kind;
    slot->name = name;
    slot->help = help;
    slot->labels = std::move(labels);
    slot->bounds = std::move(bounds);
    return slot.get();
  }
  CITADEL_CHECK(slot->kind == kind && slot->labels == labels && slot->bounds == bounds,
                "a metric is registered again as something else");
  return slot.get();
}

Counter Metrics::counter(std::string_view name, std::string_view help) {
  return counters(name, help, {}).with({});
}
Counter Metrics::seconds_counter(std::string_view name, std::string_view help) {
  CITADEL_CHECK(name.ends_with("_seconds_total"), "a total of time ends with _seconds_total");
  auto* const made = family(Kind::counter, name, help, {}, {});
  made->counter_unit = 1e-6;
  return CounterFamily(made).with({});
}
Gauge Metrics::gauge(std::string_view name, std::string_view help) {
  return gauges(name, help, {}).with({});
}
Histogram Metrics::histogram(std::string_view name, std::string_view help, std::vector<double> bounds) {
  return histograms(name, help, {}, std::move(bounds)).with({});
}
CounterFamily Metrics::counters(std::string_view name, std::string_view help,
                                std::vector<std::string> labels) {
  return CounterFamily(family(Kind::counter, name, help, std::move(labels), {}));
}
GaugeFamily Metrics::gauges(std::string_view name, std::string_view help, std::vector<std::string> labels) {
  return GaugeFamily(family(Kind::gauge, name, help, std::move(labels), {}));
}
HistogramFamily Metrics::histograms(std::string_view name, std::string_view help,
                                    std::vector<std::string> labels, std::vector<double> bounds) {
  return HistogramFamily(family(Kind::histogram, name, help, std::move(labels), std::move(bounds)));
}

Registration Metrics::on_scrape(std::function<void()> collect) {
  const std::lock_guard lock(impl_->callbacks_mutex);
  const auto id = impl_->next_callback++;
  impl_->callbacks.emplace(id, std::move(collect));
  return Registration(this, id);
}

std::string Metrics::render() {
  {
    const std::lock_guard lock(impl_->callbacks_mutex);
    for (const auto& [id, collect] : impl_->callbacks) collect();
  }
  std::vector<prometheus::MetricFamily> families;
  {
    const std::lock_guard lock(impl_->families_mutex);
    for (const auto& [name, family] : impl_->families) {
      if (auto taken = snapshot(*family); !taken.metric.empty()) families.push_back(std::move(taken));
    }
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

}  // namespace citadel::telemetry
