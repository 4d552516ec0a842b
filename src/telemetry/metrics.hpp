// Metrics: what Citadel counts about itself, rendered in the Prometheus text exposition format.
//
//   Metrics metrics;
//   const Counter accepted = metrics.counter("citadel_usage_accepted_total", "Records acknowledged.");
//   const auto answers = metrics.counters("citadel_http_answers_total", "Answers.", {"route", "code"});
//
//   accepted.increment();
//   answers.with({"/v1/requests", "202"}).increment();
//
//   std::string page = metrics.render();
//
// Handles (Counter, Gauge, Histogram) are small values that stay valid as long as their Metrics; a hot path
// keeps one and pays one relaxed atomic addition. with() takes a lock and is for paths where the label is
// known only then. A name is registered once; asking again with the same kind and labels gives the same
// series, with others it is a bug (CHECK), as is a name that naming_fault() refuses. Everything here is
// thread-safe.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace citadel::telemetry {

enum class Kind : std::uint8_t { counter, gauge, histogram };

// Series of one family: a label value that comes from outside must not fill the memory. Where the limit is
// reached, every new combination is counted in one series whose label values all are "overflow".
inline constexpr std::size_t series_max = 1000;

// What a scraper must be told about render().
inline constexpr std::string_view exposition_content_type = "text/plain; version=0.0.4; charset=utf-8";

// Why `name` may not be used, or nullopt. Names begin with citadel_ (process_ for the conventional process
// metrics), are lower_snake_case, end with _total exactly where the kind is counter, and measure in base
// units: seconds, bytes.
std::optional<std::string> naming_fault(Kind kind, std::string_view name,
                                        const std::vector<std::string>& labels);

// Only goes up.
class Counter {
 public:
  void increment(std::uint64_t by = 1) const { value_->fetch_add(by, std::memory_order_relaxed); }
  // For a total that is counted elsewhere: the value becomes `total` where that is more than now.
  void raise_to(std::uint64_t total) const;
  std::uint64_t value() const { return value_->load(std::memory_order_relaxed); }

 private:
  friend class Metrics;
  friend class CounterFamily;
  explicit Counter(std::atomic<std::uint64_t>* value) : value_(value) {}
  std::atomic<std::uint64_t>* value_;
};

class Gauge {
 public:
  void set(double value) const { value_->store(value, std::memory_order_relaxed); }
  void add(double by) const { value_->fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_->load(std::memory_order_relaxed); }

 private:
  friend class Metrics;
  friend class GaugeFamily;
  explicit Gauge(std::atomic<double>* value) : value_(value) {}
  std::atomic<double>* value_;
};

// Counts observations in buckets (upper bounds, inclusive) and sums them.
class Histogram {
 public:
  void observe(double value) const;

  struct Series;

 private:
  friend class Metrics;
  friend class HistogramFamily;
  explicit Histogram(Series* series) : series_(series) {}
  Series* series_;
};

// Bounds for durations in seconds: 100 µs to 30 s.
std::vector<double> latency_buckets();
// Bounds for counts and sizes: `count` of them, each `factor` times the one before.
std::vector<double> exponential_buckets(double first, double factor, std::size_t count);

struct Family;
class Metrics;

// Series that differ in label values; values in the order of the labels' names, as many as there are names
// (CHECK).
class CounterFamily {
 public:
  Counter with(std::initializer_list<std::string_view> values) const;

 private:
  friend class Metrics;
  explicit CounterFamily(Family* family) : family_(family) {}
  Family* family_;
};
class GaugeFamily {
 public:
  Gauge with(std::initializer_list<std::string_view> values) const;

 private:
  friend class Metrics;
  explicit GaugeFamily(Family* family) : family_(family) {}
  Family* family_;
};
class HistogramFamily {
 public:
  Histogram with(std::initializer_list<std::string_view> values) const;

 private:
  friend class Metrics;
  explicit HistogramFamily(Family* family) : family_(family) {}
  Family* family_;
};

// A callback's registration; when it goes, the callback is not called any more, and is not running.
// Move-only.
class Registration {
 public:
  Registration() = default;
  Registration(Registration&& other) noexcept;
  Registration& operator=(Registration&& other) noexcept;
  ~Registration();

 private:
  friend class Metrics;
  Registration(Metrics* metrics, std::uint64_t id) : metrics_(metrics), id_(id) {}
  void end();
  Metrics* metrics_ = nullptr;
  std::uint64_t id_ = 0;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `help` is one sentence of plain ASCII text without a line end.
  Counter counter(std::string_view name, std::string_view help);
  // A total of time: incremented by microseconds, rendered in seconds. Its name ends with _seconds_total.
  Counter seconds_counter(std::string_view name, std::string_view help);
  Gauge gauge(std::string_view name, std::string_view help);
  Histogram histogram(std::string_view name, std::string_view help,
                      std::vector<double> bounds = latency_buckets());
  CounterFamily counters(std::string_view name, std::string_view help, std::vector<std::string> labels);
  GaugeFamily gauges(std::string_view name, std::string_view help, std::vector<std::string> labels);
  HistogramFamily histograms(std::string_view name, std::string_view help, std::vector<std::string> labels,
                             std::vector<double> bounds = latency_buckets());

  // `collect` is called before each render(), on its thread: it reads a status somewhere and sets gauges by
  // handles that it holds. It must not block, throw or register callbacks.
  [[nodiscard]] Registration on_scrape(std::function<void()> collect);

  // All families by name, HELP and TYPE first. A family without series is left out.
  std::string render();

 private:
  friend class Registration;
  Family* family(Kind kind, std::string_view name, std::string_view help, std::vector<std::string> labels,
                 std::vector<double> bounds);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace citadel::telemetry
