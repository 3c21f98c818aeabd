#include "base/own_code.h"

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
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = end / page * page;
  if (last <= first) return;
  // Headers, read-only data and code: private, never written, so nothing but the mapping is lost.
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace kerf
