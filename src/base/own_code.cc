#include "base/own_code.h"

#include <algorithm>
#include <cstdint>
#include <sys/mman.h>
#include <unistd.h>

// Put in by the linker.
extern "C" __attribute__((weak)) const char __executable_start[];  // NOLINT: the linker's name
extern "C" __attribute__((weak)) const char etext[];

namespace kerf {

void let_go_of_idle_code() {
  const auto begin = reinterpret_cast<std::uintptr_t>(__executable_start);
  const auto end = reinterpret_cast<std::uintptr_t>(etext);
  if (begin == 0 || end <= begin) return;
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t skipped = (page - begin % page) % page;
  const std::uintptr_t size = (end - begin - std::min(skipped, end - begin)) / page * page;
  // Headers and code: private and never written, so nothing but the mapping is lost.
  if (size > 0) madvise(const_cast<char*>(__executable_start) + skipped, size, MADV_DONTNEED);
}

}  // namespace kerf
