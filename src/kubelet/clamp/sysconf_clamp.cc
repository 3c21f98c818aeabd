// gRPC 1.51 sizes its thread pools by the number of cores of the host and offers no setting: 53
// threads on a machine of 128. It asks sysconf(3), so the program answers that question itself: two.
// Linked into programs (target kerf_sysconf_clamp), not into the room's library, because a
// definition in a program comes before the C library's whether gRPC is linked statically or not.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>

extern "C" long sysconf(int name) noexcept {
  using Sysconf = long (*)(int) noexcept;
  static const auto real = reinterpret_cast<Sysconf>(dlsym(RTLD_NEXT, "sysconf"));
  long value = real(name);
  if (name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF) return std::min(value, 2L);
  return value;
}
