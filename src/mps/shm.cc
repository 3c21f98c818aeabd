#include "mps/shm.h"

#include <cerrno>
#include <filesystem>
#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>

#include "base/strings.h"

namespace kerf::mps {

std::string shm_size(std::string_view meminfo) {
  for (const std::string& line : split(meminfo, '\n')) {
    if (!line.starts_with("MemTotal:")) continue;
    std::string_view rest = trim(std::string_view(line).substr(9));
    const std::size_t space = rest.find(' ');
    auto total = parse_u64(rest.substr(0, space));
    std::string_view unit = space == std::string_view::npos ? "" : trim(rest.substr(space));
    if (!total || *total < 2 || unit.empty()) break;
    return std::to_string(*total / 2) + to_lower(unit.substr(0, 1));
  }
  return "65536k";
}

Status mount_shm(const std::string& directory, const std::string& size) {
  // Whatever an earlier start left, also several times over.
  while (umount2(directory.c_str(), MNT_DETACH) == 0) {
  }
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) return fail_errno("cannot empty the directory", directory, error.value());
  std::filesystem::create_directories(directory, error);
  if (error) return fail_errno("cannot make the directory", directory, error.value());
  if (chmod(directory.c_str(), 0755) != 0) {
    return fail_errno("cannot open the directory", directory, errno);
  }
  const std::string options = "size=" + size;
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME;
  if (mount("shm", directory.c_str(), "tmpfs", kFlags, options.c_str()) != 0) {
    return fail_errno("cannot mount a tmpfs", directory, errno,
                      "run mount-shm as root, with CAP_SYS_ADMIN and Bidirectional propagation");
  }
  return {};
}

}  // namespace kerf::mps
