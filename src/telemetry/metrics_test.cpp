#include "telemetry/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "base/file.hpp"
#include "telemetry/process.hpp"

namespace citadel::telemetry {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The samples and comments of the exposition format, as its grammar has them. Returns the first line that
// breaks it.
std::string first_bad_line(const std::string& page) {
  static const std::regex comment("# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .+");
  static const std::regex sample(
      R"re([a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\["\\n])*")*\})? (NaN|[+-]Inf|[-+0-9.e]+))re");
  for (const auto& line : lines_of(page)) {
    if (!std::regex_match(line, comment) && !std::regex_match(line, sample)) return line;
  }
  return "";
}

// A page with one of everything, awkward label values included.
std::string full_page(Metrics& metrics) {
  metrics.counter("citadel_test_events_total", "Events.").increment(3);
  metrics.seconds_counter("citadel_test_busy_seconds_total", "Time spent busy.").increment(1'500'000);
  metrics.gauge("citadel_test_depth", "Depth of the queue.").set(-2.5);
  const auto answers = metrics.counters("citadel_test_answers_total", "Answers by route.", {"route", "code"});
  answers.with({"/v1/requests", "202"}).increment();
  answers.with({"quote \" backslash \\ line\nend ä", "500"}).increment(7);
  const auto waits = metrics.histograms("citadel_test_wait_seconds", "Time waited.", {"pool"}, {0.1, 1});
  for (const double seconds : {0.05, 0.1, 0.5, 7.0}) waits.with({"main"}).observe(seconds);
  return metrics.render();
}

TEST(Metrics, RendersEachKindInTheExpositionFormat) {
  Metrics metrics;
  const auto page = full_page(metrics);
  EXPECT_THAT(page, HasSubstr("# HELP citadel_test_events_total Events.\n"
                              "# TYPE citadel_test_events_total counter\n"
                              "citadel_test_events_total 3\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_busy_seconds_total 1.5\n"));
  EXPECT_THAT(page, HasSubstr("# TYPE citadel_test_depth gauge\ncitadel_test_depth -2.5\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_answers_total{route=\"/v1/requests\",code=\"202\"} 1\n"));
  EXPECT_THAT(page, HasSubstr(R"(route="quote \" backslash \\ line\nend ä",code="500"} 7)"));
  // 0.1 belongs to the bucket whose bound it is: bounds are inclusive.
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_bucket{pool=\"main\",le=\"0.1\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_bucket{pool=\"main\",le=\"1\"} 3\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_bucket{pool=\"main\",le=\"+Inf\"} 4\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_count{pool=\"main\"} 4\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_sum{pool=\"main\"} 7.65"));
}

TEST(Metrics, EveryLineKeepsTheGrammarAndNoSeriesComesTwice) {
  Metrics metrics;
  const auto page = full_page(metrics);
  EXPECT_EQ(first_bad_line(page), "");
  EXPECT_NE(first_bad_line(page + "citadel_broken{route=\"a\nb\"} 1\n"), "");  // the check can fail
  std::set<std::string> series;
  for (const auto& line : lines_of(page)) {
    if (!line.starts_with('#')) EXPECT_TRUE(series.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
}

// The exit code of `promtool check metrics`, and what it said.
std::pair<int, std::string> promtool(const std::string& page) {
  char folder[] = "/tmp/citadel-metrics-XXXXXX";
  EXPECT_NE(::mkdtemp(folder), nullptr);
  const std::string file = std::string(folder) + "/page";
  EXPECT_TRUE(write_file_durably(file, page, 0600));
  const std::string command = "promtool check metrics < " + file + " 2>&1";
  std::string said;
  FILE* const pipe = ::popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  char buffer[4096];
  while (const auto got = ::fread(buffer, 1, sizeof buffer, pipe)) said.append(buffer, got);
  const int status = ::pclose(pipe);
  std::filesystem::remove_all(folder);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, said};
}

TEST(Metrics, PromtoolAcceptsThePage) {
  Metrics metrics;
  const auto process = register_process_metrics(metrics);
  const auto [code, said] = promtool(full_page(metrics));
  ASSERT_NE(code, 127) << "promtool is not installed; it comes with the Debian package prometheus: " << said;
  EXPECT_EQ(code, 0) << said;
  EXPECT_EQ(said, "");
  EXPECT_NE(promtool("citadel_no_help 1\n").first, 0);  // the check can fail
}

TEST(Metrics, TheSameNameGivesTheSameSeries) {
  Metrics metrics;
  metrics.counter("citadel_test_events_total", "Events.").increment();
  metrics.counter("citadel_test_events_total", "Events.").increment();
  EXPECT_EQ(metrics.counter("citadel_test_events_total", "Events.").value(), 2u);
  const auto family = metrics.gauges("citadel_test_depth", "Depth.", {"queue"});
  family.with({"a"}).set(5);
  family.with({"b"}).add(1);
  EXPECT_EQ(family.with({"a"}).value(), 5);
  EXPECT_EQ(family.with({"b"}).value(), 1);
}

TEST(Metrics, CounterFollowsATotalThatIsCountedElsewhereAndNeverFalls) {
  Metrics metrics;
  const auto counter = metrics.counter("citadel_test_events_total", "Events.");
  counter.raise_to(10);
  counter.raise_to(4);
  EXPECT_EQ(counter.value(), 10u);
  counter.raise_to(11);
  EXPECT_EQ(counter.value(), 11u);
}

TEST(Metrics, ALabelThatGrowsWithoutEndIsCountedAsOverflow) {
  Metrics metrics;
  const auto family = metrics.counters("citadel_test_events_total", "Events.", {"who"});
  for (std::size_t i = 0; i < series_max + 50; ++i) family.with({std::to_string(i)}).increment();
  EXPECT_EQ(family.with({"overflow"}).value(), 50u);
  EXPECT_EQ(family.with({"0"}).value(), 1u);
  const auto page = metrics.render();
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(page, '\n')), series_max + 1 + 2);
}

TEST(Metrics, NotANumberIsNotObserved) {
  Metrics metrics;
  const auto histogram = metrics.histogram("citadel_test_wait_seconds", "Time waited.", {1});
  histogram.observe(std::nan(""));
  histogram.observe(std::numeric_limits<double>::infinity());
  const auto page = metrics.render();
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_count 1\n"));
  EXPECT_THAT(page, HasSubstr("citadel_test_wait_seconds_bucket{le=\"1\"} 0\n"));
}

TEST(Metrics, CallbacksAreAskedAtEachScrapeUntilTheirRegistrationGoes) {
  Metrics metrics;
  int asked = 0;
  {
    auto first =
        metrics.on_scrape([&, depth = metrics.gauge("citadel_test_depth", "Depth.")] { depth.set(++asked); });
    EXPECT_THAT(metrics.render(), HasSubstr("citadel_test_depth 1\n"));
    Registration moved = std::move(first);
    EXPECT_THAT(metrics.render(), HasSubstr("citadel_test_depth 2\n"));
    moved = metrics.on_scrape([] {});  // ends the first one
    EXPECT_THAT(metrics.render(), HasSubstr("citadel_test_depth 2\n"));
  }
  metrics.render();
  EXPECT_EQ(asked, 2);
}

TEST(Metrics, AFamilyWithoutSeriesIsLeftOut) {
  Metrics metrics;
  metrics.counters("citadel_test_events_total", "Events.", {"who"});
  EXPECT_EQ(metrics.render(), "");
}

TEST(Metrics, ThreadsLoseNoCountAndScrapesStayConsistent) {
  constexpr int thread_count = 4, rounds = 5000;
  Metrics metrics;
  const auto counter = metrics.counter("citadel_test_events_total", "Events.");
  const auto family = metrics.counters("citadel_test_answers_total", "Answers.", {"code"});
  const auto histogram = metrics.histogram("citadel_test_wait_seconds", "Time waited.", {0.5, 1});
  std::vector<std::jthread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        counter.increment();
        family.with({std::to_string((t + i) % 3)}).increment();
        histogram.observe(1);
      }
    });
  }
  static const std::regex bucket("\\{le=\"\\+Inf\"\\} (\\d+)"), count("_count (\\d+)");
  for (int i = 0; i < 20; ++i) {
    const auto registration = metrics.on_scrape([] {});
    const auto page = metrics.render();
    std::smatch in_bucket, in_count;
    ASSERT_TRUE(std::regex_search(page, in_bucket, bucket));
    ASSERT_TRUE(std::regex_search(page, in_count, count));
    EXPECT_EQ(in_bucket[1], in_count[1]);
  }
  threads.clear();
  EXPECT_EQ(counter.value(), static_cast<std::uint64_t>(thread_count * rounds));
  EXPECT_EQ(family.with({"0"}).value() + family.with({"1"}).value() + family.with({"2"}).value(),
            counter.value());
  EXPECT_THAT(metrics.render(), HasSubstr("citadel_test_wait_seconds_sum 20000\n"));
}

TEST(MetricNames, ThatBreakARuleAreRefusedWithTheReason) {
  const auto fault = [](Kind kind, std::string_view name, std::vector<std::string> labels = {}) {
    return naming_fault(kind, name, labels).value_or("");
  };
  EXPECT_EQ(fault(Kind::counter, "citadel_pool_acquired_total"), "");
  EXPECT_EQ(fault(Kind::gauge, "process_open_fds"), "");
  EXPECT_EQ(fault(Kind::histogram, "citadel_pool_wait_seconds", {"pool"}), "");
  EXPECT_THAT(fault(Kind::gauge, "pool_open"), HasSubstr("citadel_"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_Pool"), HasSubstr("snake"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool__open"), HasSubstr("snake"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool_"), HasSubstr("snake"));
  EXPECT_THAT(fault(Kind::counter, "citadel_pool_acquired"), HasSubstr("_total"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool_open_total"), HasSubstr("_total"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool_open_count"), HasSubstr("_count"));
  EXPECT_THAT(fault(Kind::histogram, "citadel_pool_wait_ms"), HasSubstr("base unit"));
  EXPECT_THAT(fault(Kind::counter, "citadel_read_kib_total"), HasSubstr("base unit"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool_open", {"Pool"}), HasSubstr("label 'Pool'"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool_open", {"le"}), HasSubstr("reserved"));
  EXPECT_THAT(fault(Kind::gauge, "citadel_pool_open", {"a", "a"}), HasSubstr("twice"));
}

TEST(MetricsDeathTest, MisuseIsABug) {
  Metrics metrics;
  EXPECT_DEATH(metrics.counter("citadel_events", "Events."), "ends with _total");
  EXPECT_DEATH(metrics.gauge("citadel_depth", ""), "help");
  EXPECT_DEATH(metrics.gauge("citadel_depth", "Two\nlines."), "help");
  EXPECT_DEATH(metrics.histogram("citadel_wait_seconds", "Waits.", {1, 1}), "bounds go up");
  EXPECT_DEATH(metrics.seconds_counter("citadel_busy_total", "Busy."), "_seconds_total");
  metrics.gauge("citadel_depth", "Depth.");
  EXPECT_DEATH(metrics.gauges("citadel_depth", "Depth.", {"queue"}), "registered again");
  const auto family = metrics.counters("citadel_events_total", "Events.", {"who"});
  EXPECT_DEATH(family.with({"a", "b"}), "as many label values");
}

TEST(Buckets, GoUp) {
  EXPECT_TRUE(std::ranges::is_sorted(latency_buckets(), std::less_equal<>()));
  EXPECT_EQ(exponential_buckets(1, 4, 4), (std::vector<double>{1, 4, 16, 64}));
}

}  // namespace
}  // namespace citadel::telemetry
