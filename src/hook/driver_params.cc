// One file over another.
#include "hook/driver_params.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"

namespace kerf::hook {
namespace {

constexpr std::string_view kOn = "ModifyDeviceFiles: 1";
constexpr std::string_view kOff = "ModifyDeviceFiles: 0";
constexpr mode_t kReadOnly = 0444;

bool same_mounts_as_init(const Roots& host) {
  struct stat own{}, init{};
  return stat(join_path(host.proc, "self/ns/mnt").c_str(), &own) == 0 &&
         stat(join_path(host.proc, "1/ns/mnt").c_str(), &init) == 0 && own.st_dev == init.st_dev &&
         own.st_ino == init.st_ino;
}

// In a process of its own with mounts of its own, which shares our descriptors: leaves the file as
// a mount that is attached nowhere. Its number, or a negative errno.
int make_detached_file(const std::string& text, const std::string& anywhere) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return -errno;
  if (mount("kerf", anywhere.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
            "size=64k,mode=755") != 0) {
    return -errno;
  }
  const std::string path = join_path(anywhere, "params");
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kReadOnly);
  if (file < 0) return -errno;
  const bool whole = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(file);
  if (!whole) return -EIO;
  const long tree =
      syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return -errno;
  // Kernels before 5.12 cannot; the file's mode still keeps all but root from writing.
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
  return static_cast<int>(tree);
}

// The number is told through memory that both have: a page shared before the other was made would
// do, a pipe is simpler.
Result<Fd> detached_file(const std::string& text, const std::string& anywhere) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("cannot make a pipe", "", errno);
  const Fd mine(ends[0]);
  const Fd theirs(ends[1]);
  const long child =
      syscall(SYS_clone, CLONE_NEWNS | CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child < 0) return fail_errno("cannot make a mount namespace", "", errno);
  if (child == 0) {
    const int made = make_detached_file(text, anywhere);
    _exit(write(theirs.get(), &made, sizeof made) == sizeof made ? 0 : 1);
  }
  int status = 0;
  while (waitpid(static_cast<pid_t>(child), &status, 0) < 0 && errno == EINTR) {
  }
  int made = -EIO;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
      read(mine.get(), &made, sizeof made) != sizeof made || made < 0) {
    return fail_errno("cannot make a file to mount", anywhere, made < 0 ? -made : EIO);
  }
  return Fd(made);
}

}  // namespace

std::optional<std::string> without_device_changes(std::string_view params) {
  const std::size_t at = params.find(kOn);
  if (at == std::string_view::npos || (at != 0 && params[at - 1] != '\n')) return std::nullopt;
  std::string text(params);
  text.replace(at, kOn.size(), kOff);
  return text;
}

Result<std::string> disable_device_changes(const ContainerRoot& root, const Roots& host) {
  const std::string path = join_path("proc", "driver/nvidia/params");
  auto params = read_file(join_path(host.proc, "driver/nvidia/params"));
  if (!params) return std::string("the driver shows no parameters");
  auto changed = without_device_changes(*params);
  if (!changed) return std::string("the driver changes no device nodes");
  auto target = root.find(path, Reach::kAnyMount);
  if (!target) return std::string("the container does not see the driver's parameters");
  if (same_mounts_as_init(host)) {
    return fail(Kind::kConflict, "this is the host's mount namespace, which must not change",
                "disable-device-node-modification", "run it as a createContainer hook");
  }
  auto file = detached_file(*changed, host.run);
  if (!file) return fail(std::move(file.error()));
  if (syscall(SYS_move_mount, file->get(), "", target->get(), "",
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return fail_errno("cannot mount a file in the container", path, errno);
  }
  return std::string("the container sees that the driver changes no device nodes");
}

}  // namespace kerf::hook
