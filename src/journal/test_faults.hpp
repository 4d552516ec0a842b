// Faults for the journal's tests: this program's own fdatasync, fsync, pwrite, pread and fallocate, which
// call the kernel, or fail as they are told. The journal's code is the one that is shipped.
#pragma once
#include <cstdint>
#include <vector>

namespace citadel::journal {

enum class Call : std::uint8_t { fdatasync, fsync, pwrite, pread, fallocate, count_ };

// The calls number skip + 1 to skip + count from now on fail with `error`.
void inject(Call call, int error, int skip = 0, int count = 1);
// Every pread that touches [begin, end) of a file of more than 16 KiB fails with EIO, as on a bad block.
void inject_bad_block(std::int64_t begin, std::int64_t end);
void inject_none();
// How many calls were made to fail since inject().
int injected();
// The descriptors of all fdatasync calls since inject(), the failing ones first in `failed`.
struct Syncs {
  std::vector<int> failed;
  std::vector<int> after_failure;  // on any descriptor, after the first failure
};
Syncs syncs();

}  // namespace citadel::journal
