#include "telemetry/process.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <system_error>

#include "base/file.hpp"

namespace citadel::telemetry {
namespace {

// Fields of /proc/self/stat that follow the command's name, which may hold blanks and parentheses itself.
std::vector<std::string> stat_fields() {
  const auto text = read_file("/proc/self/stat", 65536);
  if (!text) return {};
  const auto end_of_name = text->rfind(')');
  if (end_of_name == std::string::npos) return {};
  std::istringstream words(text->substr(end_of_name + 1));
  std::vector<std::string> fields;
  for (std::string word; words >> word;) fields.push_back(word);
  return fields;
}

double boot_time_seconds() {
  const auto text = read_file("/proc/stat", 1 << 20);
  if (!text) return 0;
  const auto at = text->find("\nbtime ");
  return at == std::string::npos ? 0 : std::strtod(text->c_str() + at + 7, nullptr);
}

double count_open_fds() {
  std::error_code ignored;
  double count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", ignored), end; it != end;
       it.increment(ignored))
    ++count;
  // The descriptor that reads the folder is one of them.
  return count > 0 ? count - 1 : 0;
}

}  // namespace

ProcessStatus process_status() {
  ProcessStatus status;
  // proc(5) numbers the fields from 1 and the state is the third, so field N stands at N - 3.
  if (const auto fields = stat_fields(); fields.size() > 21) {
    const auto field = [&](std::size_t number) { return std::strtod(fields[number - 3].c_str(), nullptr); };
    const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
    status.cpu_seconds = (field(14) + field(15)) / ticks_per_second;
    status.threads = field(20);
    status.start_time_seconds = boot_time_seconds() + field(22) / ticks_per_second;
    status.virtual_bytes = field(23);
    status.resident_bytes = field(24) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }
  status.open_fds = count_open_fds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) status.max_fds = static_cast<double>(limit.rlim_cur);
  return status;
}

Registration register_process_metrics(Metrics& metrics) {
  const auto cpu =
      metrics.seconds_counter("process_cpu_seconds_total", "CPU time used by all threads, user and system.");
  const auto start = metrics.gauge("process_start_time_seconds", "When the process began, since the epoch.");
  const auto resident = metrics.gauge("process_resident_memory_bytes", "Memory that is resident.");
  const auto virtual_memory = metrics.gauge("process_virtual_memory_bytes", "Address space.");
  const auto open_fds = metrics.gauge("process_open_fds", "Descriptors that are open.");
  const auto max_fds = metrics.gauge("process_max_fds", "Descriptors that may be open.");
  const auto threads = metrics.gauge("process_threads", "Threads.");
  return metrics.on_scrape([=] {
    const auto status = process_status();
    cpu.raise_to(static_cast<std::uint64_t>(status.cpu_seconds * 1e6));
    start.set(status.start_time_seconds);
    resident.set(status.resident_bytes);
    virtual_memory.set(status.virtual_bytes);
    open_fds.set(status.open_fds);
    max_fds.set(status.max_fds);
    threads.set(status.threads);
  });
}

}  // namespace citadel::telemetry
