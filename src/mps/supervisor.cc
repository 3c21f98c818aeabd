#include "mps/supervisor.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "mps/gate.h"
#include "mps/layout.h"
#include "mps/log_follower.h"
#include "mps/process.h"

namespace kerf::mps {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr const char* kAreYouThere = "get_default_active_thread_percentage";
// What containers may open, in the policies that container runtimes come with.
constexpr std::string_view kSelinuxLabel = "system_u:object_r:container_file_t:s0";
constexpr milliseconds kPollStart{50};
constexpr milliseconds kSettled{60'000};  // who lived that long starts again without a pause

Status make_directory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_errno("cannot make the directory", path, error.value());
  if (chmod(path.c_str(), 0755) != 0) return fail_errno("cannot open the directory", path, errno);
  return {};
}

Status label_for_containers(const std::string& path) {
  auto label = [](const std::string& file) {
    return lsetxattr(file.c_str(), "security.selinux", kSelinuxLabel.data(),
                     kSelinuxLabel.size() + 1, 0);
  };
  if (label(path) != 0) return fail_errno("cannot set the SELinux label", path, errno);
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
    if (label(entry.path()) != 0) {
      return fail_errno("cannot set the SELinux label", entry.path(), errno);
    }
  }
  return {};
}

bool is_percentage(std::string_view text) {
  text = trim(text);
  const std::size_t digits = text.find_first_not_of("0123456789");
  return !text.empty() && digits != 0 && (digits == std::string_view::npos || text[digits] == '.');
}

}  // namespace

struct Supervisor::Impl {
  Impl(Surroundings s, Wanted w, Changed c, Keeps k)
      : surroundings(std::move(s)),
        timing(surroundings.timing),
        wanted(std::move(w)),
        changed(std::move(c)),
        keeps(std::move(k)),
        layout(surroundings.root, wanted.resource),
        logs(wanted.resource, layout.log),
        environment(daemon_environment(wanted, layout.pipe, layout.log)) {}

  void live();
  Status bring_up();
  Status set_mode(const std::string& uuid, const char* mode);
  Status prepare_directories();
  Status await_answer();
  Status give_limits();
  Error watch();
  Status check();
  void take_down(bool for_good);
  void follow_logs();
  Result<std::string> tell(const std::string& command, milliseconds limit, bool can_be_stopped);
  void become(State::Phase phase, std::optional<Error> error = {});
  // True when the stop was asked for within that time.
  bool pause(milliseconds time);

  const Surroundings surroundings;
  const Timing timing;
  const Wanted wanted;
  const Changed changed;
  const Keeps keeps;
  const Layout layout;
  LogFollower logs;
  const std::vector<std::string> environment;
  Fd stop_event;
  Fd log_watch;
  std::thread thread;
  std::atomic<bool> finished{false};
  // The thread's own:
  State state;
  std::string control;
  std::unique_ptr<Child> daemon;
  StartedFile started;
};

void Supervisor::Impl::become(State::Phase phase, std::optional<Error> error) {
  state.phase = phase;
  state.error = std::move(error);
  changed(state);
}

bool Supervisor::Impl::pause(milliseconds time) {
  pollfd entry{stop_event.get(), POLLIN, 0};
  return poll(&entry, 1, static_cast<int>(time.count())) == 1;
}

Result<std::string> Supervisor::Impl::tell(const std::string& command, milliseconds limit,
                                           bool can_be_stopped) {
  Result<std::string> answer =
      run({control, {}, environment}, command, limit, can_be_stopped ? stop_event.get() : -1);
  if (!answer) answer.error().during("\"" + command + "\"");
  return answer;
}

Status Supervisor::Impl::set_mode(const std::string& uuid, const char* mode) {
  Result<std::string> smi = find_program("nvidia-smi", surroundings.driver_root, surroundings.path);
  if (!smi) return fail(std::move(smi.error()));
  Result<std::string> done =
      run({*smi, {"-i", uuid, "-c", mode}, surroundings.environment}, "", timing.command);
  if (done) return {};
  done.error().during("setting the compute mode of " + uuid + " to " + mode);
  if (done.error().hint.empty()) done.error().hint = "the component mps must run as root";
  return fail(std::move(done.error()));
}

Status Supervisor::Impl::prepare_directories() {
  for (const std::string& path : {layout.pipe, layout.log}) {
    if (Status made = make_directory(path); !made) return made;
  }
  if (std::error_code none; fs::exists(surroundings.selinux, none)) {
    if (Status labelled = label_for_containers(layout.pipe); !labelled) return labelled;
  }
  return {};
}

// Everything up to a daemon that may be used.
Status Supervisor::Impl::bring_up() {
  Result<std::string> found =
      find_program("nvidia-cuda-mps-control", surroundings.driver_root, surroundings.path);
  if (!found) return fail(std::move(found.error()));
  control = std::move(*found);
  for (const std::string& uuid : wanted.gpus) {
    if (Status set = set_mode(uuid, "EXCLUSIVE_PROCESS"); !set) return set;
  }
  if (Status made = prepare_directories(); !made) return made;
  // One that an earlier process left running has the pipes, and limits of its own.
  if (tell(kAreYouThere, timing.check, true)) {
    log::warn("mps", "ending a daemon that was left running", {{"resource", wanted.resource}});
    if (auto quit = tell("quit", timing.quit, true); !quit) log::warn("mps", "quit", quit.error());
  }
  follow_logs();
  Result<Child> child = Child::start({control, {"-f"}, environment});
  if (!child) return fail(std::move(child.error()));
  daemon = std::make_unique<Child>(std::move(*child));
  ++state.starts;
  log::info("mps", "daemon started",
            {{"resource", wanted.resource}, {"pid", daemon->pid()}, {"gpus", wanted.gpus.size()}});
  if (Status answers = await_answer(); !answers) return answers;
  if (Status given = give_limits(); !given) return given;
  return started.raise(layout.started);
}

Status Supervisor::Impl::await_answer() {
  const auto deadline = steady_clock::now() + timing.start;
  while (true) {
    Status answers = check();
    if (answers) return {};
    follow_logs();
    if (!daemon->running()) {
      return fail(Kind::kGone, "the daemon ended at once: " + daemon->end(milliseconds(0)),
                  logs.last_line());
    }
    if (steady_clock::now() > deadline) return answers;
    if (pause(kPollStart)) return fail(Kind::kGone, "stopped");
  }
}

Status Supervisor::Impl::give_limits() {
  for (const std::string& command : wanted.commands) {
    if (auto done = tell(command, timing.command, true); !done) {
      return fail(std::move(done.error()));
    }
    log::info("mps", "told the daemon", {{"resource", wanted.resource}, {"command", command}});
  }
  return {};
}

Status Supervisor::Impl::check() {
  Result<std::string> answer = tell(kAreYouThere, timing.check, true);
  if (!answer) return fail(std::move(answer.error()));
  if (is_percentage(*answer)) return {};
  return fail(Kind::kCorrupt, "the daemon answers with something else than a percentage",
              std::string(trim(answer->substr(0, 200))));
}

void Supervisor::Impl::follow_logs() {
  if (!log_watch) {
    log_watch = Fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (log_watch) inotify_add_watch(log_watch.get(), layout.log.c_str(), IN_MODIFY | IN_CREATE);
  }
  std::array<char, 4096> events{};
  while (log_watch && read(log_watch.get(), events.data(), events.size()) > 0) {
  }
  logs.read_files();
  if (daemon && daemon->output_fd() >= 0) logs.take("output", daemon->read_output());
}

// Stays until the daemon may no longer be used, and says why; kGone with "stopped" when asked to.
Error Supervisor::Impl::watch() {
  auto next_check = steady_clock::now() + timing.check_every;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(next_check - steady_clock::now());
    std::array<pollfd, 4> wait = {pollfd{stop_event.get(), POLLIN, 0},
                                  pollfd{daemon->exited_fd(), POLLIN, 0},
                                  pollfd{daemon->output_fd(), POLLIN, 0},
                                  pollfd{log_watch ? log_watch.get() : -1, POLLIN, 0}};
    poll(wait.data(), wait.size(), static_cast<int>(std::max(left, milliseconds(0)).count()));
    follow_logs();
    if (wait[0].revents != 0) return Error{Kind::kGone, "stopped", "", "", 0};
    if (wait[1].revents != 0) {
      return Error{Kind::kGone, "the daemon died: " + daemon->end(milliseconds(0)),
                   logs.last_line(), "", 0};
    }
    if (steady_clock::now() < next_check) continue;
    Status answers = check();
    next_check = steady_clock::now() + timing.check_every;
    if (answers) {
      if (state.phase != State::Phase::kUncertain) continue;
      if (Status raised = started.raise(layout.started); !raised) return raised.error();
      become(State::Phase::kReady);
      continue;
    }
    // It may have died, or the stop was asked for, in the meantime: the next turn says so.
    if (!daemon->running() || pause(milliseconds(0))) continue;
    if (state.phase == State::Phase::kUncertain) {
      return answers.error().during("the daemon does not answer");
    }
    started.lower();
    become(State::Phase::kUncertain, answers.error().during("the daemon does not answer"));
    next_check = steady_clock::now();
  }
}

void Supervisor::Impl::take_down(bool for_good) {
  started.lower();
  if (daemon && daemon->running()) {
    if (for_good) {
      if (auto quit = tell("quit", timing.quit, false); !quit) {
        log::warn("mps", "the daemon does not quit and is ended", quit.error());
      }
    }
    // Having quit it ends by itself; whoever hangs is not asked again.
    pollfd exited{daemon->exited_fd(), POLLIN, 0};
    if (for_good) poll(&exited, 1, static_cast<int>(timing.quit.count()));
  }
  if (daemon) {
    std::string how = daemon->end(milliseconds(500));
    log::info("mps", "daemon ended", {{"resource", wanted.resource}, {"how", how}});
    follow_logs();
    daemon.reset();
  }
  if (!for_good) return;
  for (const std::string& uuid : wanted.gpus) {
    if (keeps(uuid)) continue;
    if (Status set = set_mode(uuid, "DEFAULT"); !set) {
      log::warn("mps", "the GPU stays in exclusive mode", set.error());
    }
  }
  log_watch.reset();
  std::error_code error;
  fs::remove_all(layout.log, error);
  if (error) log::warn("mps", "the logs stay", {{"err", error.message()}, {"path", layout.log}});
}

void Supervisor::Impl::live() {
  milliseconds wait = timing.retry_first;
  while (true) {
    const auto began = steady_clock::now();
    become(State::Phase::kStarting);
    Error why;
    if (Status up = bring_up(); up) {
      become(State::Phase::kReady);
      log::info("mps", "daemon ready", {{"resource", wanted.resource}});
      why = watch();
    } else {
      why = up.error();
    }
    const bool stopping = pause(milliseconds(0));
    if (!stopping) {
      started.lower();
      log::error("mps", "the daemon is started again after a pause", why);
      become(State::Phase::kFailed, why);
    }
    take_down(stopping);
    if (stopping) break;
    if (steady_clock::now() - began > kSettled) wait = timing.retry_first;
    if (pause(wait)) {
      take_down(true);
      break;
    }
    wait = std::min(2 * wait, timing.retry_longest);
  }
  finished = true;
  become(State::Phase::kStopped);
}

Result<std::unique_ptr<Supervisor>> Supervisor::start(Surroundings surroundings, Wanted wanted,
                                                      Changed changed, Keeps keeps) {
  auto impl = std::make_unique<Impl>(std::move(surroundings), std::move(wanted), std::move(changed),
                                     std::move(keeps));
  impl->stop_event = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl->stop_event) return fail_errno("cannot make an event", "", errno);
  // Signals are the loop's business.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::error_code error;
  try {
    impl->thread = std::thread([raw = impl.get()] { raw->live(); });
  } catch (const std::system_error& none) {
    error = none.code();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error) return fail_errno("cannot start a thread", "", error.value());
  pthread_setname_np(impl->thread.native_handle(), "mps");
  return std::unique_ptr<Supervisor>(new Supervisor(std::move(impl)));
}

Supervisor::Supervisor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Supervisor::~Supervisor() {
  stop();
  join();
}

const Wanted& Supervisor::wanted() const { return impl_->wanted; }

void Supervisor::stop() { eventfd_write(impl_->stop_event.get(), 1); }

bool Supervisor::stopped() const { return impl_->finished; }

void Supervisor::join() {
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace kerf::mps
