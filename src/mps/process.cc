#include "mps/process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::mps {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMostOutput = 64 * 1024;

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("cannot make a pipe", "", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// posix_spawn with our standard streams, a group of its own and the signals as they come.
int spawn(const Command& command, int in, int out, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> words = {command.program};
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> environment = command.environment;
  int error = posix_spawn(&pid, command.program.c_str(), &actions, &attributes,
                          pointers(words).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

// True when `fd` became readable in time; a time below 0 does not wait.
bool await(int fd, milliseconds limit) {
  pollfd entry{fd, POLLIN, 0};
  const int wait = static_cast<int>(std::max(limit, milliseconds(0)).count());
  return poll(&entry, 1, wait) == 1;
}

std::string ending(int status) {
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

milliseconds until(steady_clock::time_point deadline) {
  return std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
}

}  // namespace

Result<Child> Child::start(const Command& command, const std::string& input) {
  Result<Pipe> in = make_pipe();
  if (!in) return fail(std::move(in.error()));
  Result<Pipe> out = make_pipe();
  if (!out) return fail(std::move(out.error()));
  Child child;
  if (int error = spawn(command, in->read.get(), out->write.get(), child.pid_); error != 0) {
    child.pid_ = 0;
    return fail_errno("cannot start the program", command.program, error);
  }
  child.exited_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, child.pid_, 0)));
  child.output_ = std::move(out->read);
  if (!child.exited_) return fail_errno("cannot follow the program", command.program, errno);
  fcntl(child.output_.get(), F_SETFL, O_NONBLOCK);
  // Commands are shorter than a pipe holds. A reader that is gone has ended, which is found out.
  if (!input.empty()) {
    [[maybe_unused]] ssize_t written = ::write(in->write.get(), input.data(), input.size());
  }
  return child;
}

Child::~Child() {
  if (exited_) end(milliseconds(0));
}

std::string Child::read_output() {
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.size() < kMostOutput) {
    const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) output_.reset();
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

bool Child::running() const { return exited_ && !await(exited_.get(), milliseconds(0)); }

std::string Child::end(milliseconds grace) {
  if (!exited_) return ending(status_);
  if (running() && grace > milliseconds(0)) {
    kill(-pid_, SIGTERM);
    await(exited_.get(), grace);
  }
  // The leader is not collected yet, so that the number still names this group and no other.
  kill(-pid_, SIGKILL);
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  // As a container's first process we inherit what the program had started.
  while (waitpid(-pid_, nullptr, WNOHANG) > 0) {
  }
  exited_.reset();
  return ending(status_);
}

Result<std::string> run(const Command& command, const std::string& input, milliseconds limit,
                        int stop_fd) {
  Result<Child> child = Child::start(command, input);
  if (!child) return fail(std::move(child.error()));
  const auto deadline = steady_clock::now() + limit;
  std::string output;
  while (child->running()) {
    const milliseconds left = until(deadline);
    if (left <= milliseconds(0)) {
      return fail(Kind::kTimeout, "no answer within " + std::to_string(limit.count()) + " ms",
                  command.program);
    }
    std::array<pollfd, 3> wait = {pollfd{child->exited_fd(), POLLIN, 0},
                                  pollfd{child->output_fd(), POLLIN, 0},
                                  pollfd{stop_fd, POLLIN, 0}};
    poll(wait.data(), wait.size(), static_cast<int>(left.count()));
    if (wait[2].revents != 0) return fail(Kind::kGone, "given up", command.program);
    if (child->output_fd() >= 0) output += child->read_output();
    if (output.size() > kMostOutput) output.resize(kMostOutput);
  }
  if (child->output_fd() >= 0) output += child->read_output();
  const std::string how = child->end(milliseconds(0));
  if (child->status() == 0) return output;
  std::string words(trim(output));
  return fail(Kind::kInternal, words.empty() ? how : how + ": " + words.substr(0, 512),
              command.program);
}

Result<std::string> find_program(const std::string& name, const std::string& driver_root,
                                 const std::string& path) {
  std::vector<std::string> folders;
  for (const char* folder :
       {"usr/bin", "usr/local/bin", "bin", "opt/bin", "usr/local/nvidia/bin"}) {
    if (!driver_root.empty()) folders.push_back(join_path(driver_root, folder));
  }
  for (const std::string& folder : split(path, ':')) {
    if (!folder.empty()) folders.push_back(folder);
  }
  for (const std::string& folder : folders) {
    std::string candidate = join_path(folder, name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return fail(Kind::kNotFound, "cannot find " + name, join(folders, ", "),
              "let the container have the driver's programs: NVIDIA_DRIVER_CAPABILITIES="
              "compute,utility, or the driver's root at containerDriverRoot");
}

}  // namespace kerf::mps
