// Namespaces, a new root, and a program from memory.
#include "hook/sandbox.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <optional>
#include <poll.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::hook {
namespace {

constexpr std::chrono::seconds kDeadline{30};
constexpr rlim_t kMostSeconds = 10;          // of the processor
constexpr std::size_t kMostComplaint = 500;  // bytes
constexpr rlim_t kMostFileBytes = 64 << 20;
constexpr std::size_t kMostProgramBytes = 16 << 20;
constexpr int kFailedToStart = 126;
// What writing files of other owners in the container's root needs, and nothing else.
constexpr unsigned kKept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER};

// Says on standard error, which is the parent's pipe, what went wrong, and ends.
[[noreturn]] void give_up(const char* what) {
  const int why = errno;
  const std::string text = std::string(what) + ": " + std::strerror(why) + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
  _exit(kFailedToStart);
}

void must(bool good, const char* what) {
  if (!good) give_up(what);
}

int sys_mount_setattr(int fd, unsigned flags, mount_attr attributes) {
  return static_cast<int>(
      syscall(SYS_mount_setattr, fd, "", flags, &attributes, sizeof attributes));
}

// Makes the container's root the only thing there is.
void enter_root(const ContainerRoot& root) {
  // Nothing that is mounted from here on reaches another namespace.
  must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0,
       "cannot leave shared mounts");
  // Entered anew: the descriptor of before stands for the other namespace's mount.
  const Fd here(open(root.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat then{}, now{};
  must(here && fstat(root.fd(), &then) == 0 && fstat(here.get(), &now) == 0,
       "cannot enter the container's root");
  if (then.st_dev != now.st_dev || then.st_ino != now.st_ino) {
    errno = ESTALE;
    give_up("the container's root was replaced");
  }
  const Fd tree(static_cast<int>(
      syscall(SYS_open_tree, here.get(), "",
              AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  must(static_cast<bool>(tree), "cannot copy the container's mounts");
  // Volumes may be directories of the host. Kernels before 5.12 cannot do this.
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (sys_mount_setattr(tree.get(), AT_EMPTY_PATH | AT_RECURSIVE, attributes) == 0) {
    attributes.attr_set = 0;
    attributes.attr_clr = MOUNT_ATTR_RDONLY;
    must(sys_mount_setattr(tree.get(), AT_EMPTY_PATH, attributes) == 0,
         "cannot make the root writable");
  }
  must(syscall(SYS_move_mount, tree.get(), "", here.get(), "",
               MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0,
       "cannot mount the container's root");
  must(fchdir(tree.get()) == 0, "cannot enter the container's root");
  must(syscall(SYS_pivot_root, ".", ".") == 0, "cannot change the root");
  must(umount2(".", MNT_DETACH) == 0, "cannot leave the host's root");
  must(chdir("/") == 0, "cannot enter the new root");
}

void limit(int what, rlim_t most) {
  const rlimit bounds{most, most};
  setrlimit(static_cast<__rlimit_resource>(what), &bounds);
}

void give_up_rights() {
  auto kept = [](unsigned capability) {
    return std::ranges::find(kKept, capability) != std::end(kKept);
  };
  for (unsigned capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (!kept(capability)) prctl(PR_CAPBSET_DROP, capability);
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  for (unsigned capability : kKept) data[0].permitted |= 1U << capability;
  data[0].effective = data[0].permitted;
  must(syscall(SYS_capset, &header, data.data()) == 0, "cannot give up capabilities");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "cannot give up gaining privileges");
  limit(RLIMIT_CPU, kMostSeconds);
  limit(RLIMIT_FSIZE, kMostFileBytes);
  limit(RLIMIT_CORE, 0);
}

[[noreturn]] void become(const ContainerRoot& root, const Fd& program, const Fd& complaints,
                         const std::vector<std::string>& arguments) {
  dup2(complaints.get(), STDERR_FILENO);
  const std::string nothing = join_path(Roots::below("/").dev, "null");
  const Fd null(open(nothing.c_str(), O_RDWR | O_CLOEXEC));
  must(static_cast<bool>(null), "cannot open the null device");
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  enter_root(root);
  give_up_rights();
  // What a runtime may have left open is no affair of the program.
  constexpr unsigned kFirstOfOthers = 3;
  syscall(SYS_close_range, kFirstOfOthers, ~0U, CLOSE_RANGE_CLOEXEC);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char* const no_environment[] = {nullptr};
  execveat(program.get(), "", argv.data(), no_environment, AT_EMPTY_PATH);
  give_up("cannot start the program");
}

// Reads what the child complains about until it closes the pipe; false when time is up.
bool listen_until_end(const Fd& pipe, std::string& said) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd waiting{pipe.get(), POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(left.count())) <= 0) continue;
    const ssize_t size = read(pipe.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return true;
    said.append(buffer.data(), static_cast<std::size_t>(size));
    if (said.size() > kMostComplaint) said.resize(kMostComplaint);
  }
}

bool is_static_program(std::string_view image) {
  Elf64_Ehdr header{};
  if (image.size() < sizeof header) return false;
  std::memcpy(&header, image.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(Elf64_Phdr)) {
    return false;
  }
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    const std::size_t at = header.e_phoff + i * sizeof part;
    if (at > image.size() || image.size() - at < sizeof part) return false;
    std::memcpy(&part, image.data() + at, sizeof part);
    if (part.p_type == PT_INTERP) return false;
  }
  return true;
}

Fd make_memory_file() {
#ifdef MFD_EXEC
  constexpr unsigned kExecutable = MFD_EXEC;
#else
  constexpr unsigned kExecutable = 0x10;
#endif
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Fd fd(memfd_create("kerf-cdi-hook", kFlags | kExecutable));
  // Before Linux 6.3 all of them may be executed, and the flag is unknown.
  return fd ? std::move(fd) : Fd(memfd_create("kerf-cdi-hook", kFlags));
}

}  // namespace

Result<Fd> copy_static_program(const std::string& path) {
  auto image = read_file(path, kMostProgramBytes);
  if (!image) return fail(std::move(image.error()));
  if (!is_static_program(*image)) {
    return fail(Kind::kInvalid,
                "not a static program, and another would be run by the container's "
                "own loader",
                path);
  }
  Fd fd = make_memory_file();
  if (!fd) return fail_errno("cannot hold a program in memory", path, errno);
  for (std::string_view rest = *image; !rest.empty();) {
    const ssize_t written = write(fd.get(), rest.data(), rest.size());
    if (written <= 0) return fail_errno("cannot hold a program in memory", path, errno);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("cannot seal a program in memory", path, errno);
  }
  return fd;
}

Status run_in_container(const ContainerRoot& root, const Fd& program,
                        const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("cannot make a pipe", "", errno);
  Fd mine(ends[0]);
  Fd theirs(ends[1]);
  constexpr unsigned long kApart =
      CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  const long child = syscall(SYS_clone, kApart | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child < 0) {
    return fail_errno("cannot make namespaces for " + arguments.front(), root.path(), errno);
  }
  if (child == 0) become(root, program, theirs, arguments);
  theirs.reset();
  std::string said;
  const bool in_time = listen_until_end(mine, said);
  if (!in_time) kill(static_cast<pid_t>(child), SIGKILL);
  int status = 0;
  while (waitpid(static_cast<pid_t>(child), &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) {
    return fail(Kind::kTimeout, arguments.front() + " took longer than half a minute", root.path());
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  std::string why = valid_utf8(trim(said));
  std::ranges::replace(why, '\n', ';');
  const std::string how = WIFSIGNALED(status)
                              ? "was ended by signal " + std::to_string(WTERMSIG(status))
                              : "failed with status " + std::to_string(WEXITSTATUS(status));
  return fail(Kind::kInternal, arguments.front() + " " + how + (why.empty() ? "" : ": " + why),
              root.path());
}

}  // namespace kerf::hook
