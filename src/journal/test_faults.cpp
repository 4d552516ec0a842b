#include "journal/test_faults.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>

namespace citadel::journal {
namespace {

std::mutex mutex;
struct Plan {
  int error = 0;
  int skip = 0;
  int count = 0;
} plans[static_cast<std::size_t>(Call::count_)];
int fired = 0;
std::int64_t bad_begin = 0;
std::int64_t bad_end = 0;
Syncs seen;

int due(Call call, int fd) {
  const std::lock_guard lock(mutex);
  Plan& plan = plans[static_cast<std::size_t>(call)];
  const bool fails = plan.count > 0 && plan.skip == 0;
  if (plan.skip > 0) --plan.skip;
  if (call == Call::fdatasync) {
    if (!seen.failed.empty()) seen.after_failure.push_back(fd);
    if (fails) seen.failed.push_back(fd);
  }
  if (!fails) return 0;
  --plan.count;
  ++fired;
  return plan.error;
}

}  // namespace

void inject(Call call, int error, int skip, int count) {
  const std::lock_guard lock(mutex);
  plans[static_cast<std::size_t>(call)] = {error, skip, count};
  fired = 0;
  seen = {};
}

void inject_bad_block(std::int64_t begin, std::int64_t end) {
  const std::lock_guard lock(mutex);
  bad_begin = begin;
  bad_end = end;
}

bool is_bad(int fd, std::int64_t begin, std::int64_t end) {
  struct stat info{};
  if (::fstat(fd, &info) != 0 || info.st_size <= 16'384) return false;
  const std::lock_guard lock(mutex);
  return begin < bad_end && bad_begin < end;
}

void inject_none() {
  const std::lock_guard lock(mutex);
  bad_begin = bad_end = 0;
  for (Plan& plan : plans) plan = {};
}

int injected() {
  const std::lock_guard lock(mutex);
  return fired;
}

Syncs syncs() {
  const std::lock_guard lock(mutex);
  return seen;
}

}  // namespace citadel::journal

using citadel::journal::Call;

// Some tests fork, and the journal starts its thread in the child.
extern "C" const char* __tsan_default_options() {
  return "die_after_fork=0";
}

// The linker takes these before the C library's.
extern "C" {

int fdatasync(int fd) {
  if (const int error = citadel::journal::due(Call::fdatasync, fd)) return errno = error, -1;
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

int fsync(int fd) {
  if (const int error = citadel::journal::due(Call::fsync, fd)) return errno = error, -1;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

ssize_t pwrite(int fd, const void* from, size_t size, off_t at) {
  if (const int error = citadel::journal::due(Call::pwrite, fd)) return errno = error, -1;
  return ::syscall(SYS_pwrite64, fd, from, size, at);
}

// Under a name of its own: with _FORTIFY_SOURCE the C library's header defines pread inline.
ssize_t faulty_pread(int fd, void* to, size_t size, off_t at) __asm__("pread");
ssize_t faulty_pread(int fd, void* to, size_t size, off_t at) {
  if (const int error = citadel::journal::due(Call::pread, fd)) return errno = error, -1;
  if (citadel::journal::is_bad(fd, at, at + static_cast<off_t>(size))) return errno = EIO, -1;
  return ::syscall(SYS_pread64, fd, to, size, at);
}

// What a fortified pread becomes where the buffer's size is known.
ssize_t faulty_pread_checked(int fd, void* to, size_t size, off_t at,
                             size_t buffer_size) __asm__("__pread_chk");
ssize_t faulty_pread_checked(int fd, void* to, size_t size, off_t at, size_t) {
  return faulty_pread(fd, to, size, at);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
  if (const int error = citadel::journal::due(Call::fallocate, fd)) return errno = error, -1;
  return static_cast<int>(::syscall(SYS_fallocate, fd, mode, at, size));
}
}
