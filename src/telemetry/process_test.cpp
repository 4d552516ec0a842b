#include "telemetry/process.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/file.hpp"

namespace citadel::telemetry {
namespace {

TEST(Process, StatusIsThatOfThisProcess) {
  const auto status = process_status();
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_GT(status.resident_bytes, 1 << 20);
  EXPECT_GE(status.virtual_bytes, status.resident_bytes);
  EXPECT_GE(status.threads, 1);
  EXPECT_GE(status.open_fds, 3);
  EXPECT_GT(status.max_fds, status.open_fds);
  // It began before now, and after 2020: a wrong unit or field is far off.
  EXPECT_LT(status.start_time_seconds, now + 1);
  EXPECT_GT(status.start_time_seconds, 1.577e9);
}

TEST(Process, ADescriptorAndAThreadMoreAreSeen) {
  const auto before = process_status();
  const UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::atomic<bool> stop{false};
  std::jthread thread([&] { stop.wait(false); });
  const auto during = process_status();
  stop = true;
  stop.notify_all();
  EXPECT_EQ(during.open_fds, before.open_fds + 1);
  EXPECT_EQ(during.threads, before.threads + 1);
}

TEST(Process, MetricsAreCollectedAtTheScrape) {
  Metrics metrics;
  const auto registration = register_process_metrics(metrics);
  const auto page = metrics.render();
  EXPECT_THAT(page, testing::HasSubstr("# TYPE process_cpu_seconds_total counter\n"));
  EXPECT_THAT(page, testing::ContainsRegex("process_resident_memory_bytes [1-9]"));
  EXPECT_THAT(page, testing::ContainsRegex("process_start_time_seconds [1-9]"));
}

}  // namespace
}  // namespace citadel::telemetry
