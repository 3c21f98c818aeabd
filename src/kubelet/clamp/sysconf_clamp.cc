// gRPC 1.51 sizes its thread pools by the number of cores of the host and offers no setting: 53
// threads on a machine of 128. It asks sysconf(3), so the program answers that question itself:
// two. Linked into programs (target kerf_sysconf_clamp), not into the room's library, because a
// definition in a program comes before the C library's whether gRPC is linked statically or not.
//
// Everything else is passed on to glibc's other name of the function rather than looked up by
// dlsym, and nothing here is instrumented, because sanitizers call sysconf before they are ready.
#include <unistd.h>

extern "C" long __sysconf(int name) noexcept;

extern "C" __attribute__((no_sanitize("address", "thread", "undefined"))) long sysconf(
    int name) noexcept {
  constexpr long kCores = 2;
  const long value = __sysconf(name);
  const bool cores = name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF;
  return cores && value > kCores ? kCores : value;
}
