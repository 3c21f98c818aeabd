#include "health/device_access.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace kerf::health {

int try_open(const std::string& path) {
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

Error explain_access(Error error, const Roots& roots, const TryOpen& open) {
  const std::string device = join_path(roots.dev, "nvidiactl");
  // A device cgroup answers EPERM; wrong ownership or mode would be EACCES.
  if (open(device) != EPERM) return error;
  Error better;
  better.kind = Kind::kDenied;
  better.what = "this container is no longer allowed to open " + device + ": " + error.what;
  better.subject = error.subject;
  better.hint =
      "a reload of systemd takes device access from running containers: restart this pod, and use "
      "CDI or passDeviceSpecs so that it does not happen to the others";
  better.native = error.native;
  return better;
}

}  // namespace kerf::health
