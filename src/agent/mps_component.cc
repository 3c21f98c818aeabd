// Daemons follow the plan: only what differs is stopped and started. While the driver as a whole is
// in trouble the plan is not trusted and daemons stay as they are: their clients may still work.
#include "agent/mps_component.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "mps/layout.h"
#include "mps/supervisor.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>

extern "C" char** environ;

namespace kerf::agent {
namespace {

using mps::State;
using mps::Supervisor;
using Phase = mps::State::Phase;

// GPUs that some daemon is to have for itself; read by the supervisors' threads.
class Claims {
 public:
  void set(std::set<std::string> gpus) {
    const std::lock_guard lock(mutex_);
    gpus_ = std::move(gpus);
  }
  bool has(const std::string& gpu) const {
    const std::lock_guard lock(mutex_);
    return gpus_.contains(gpu);
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> gpus_;
};

std::string search_path() {
  const char* given = getenv("PATH");
  return given != nullptr ? given : "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
}

class MpsComponent final : public Component {
 public:
  MpsComponent(const config::Effective& effective, const Surroundings& surroundings)
      : surroundings_(surroundings), root_(effective.process.mps_dir) {}

  void observe(const View& view) override {
    if (!view.plan) return;
    using enum inventory::DriverState;
    const inventory::DriverState driver = view.plan->snapshot->driver.state;
    if (driver != kReady && (planned_ || driver != kAbsent)) return;
    planned_ = true;
    driver_root_ = view.plan->config.container_driver_root;
    wanted_ = mps::wanted_daemons(*view.plan);
    std::set<std::string> gpus;
    for (const mps::Wanted& each : wanted_) gpus.insert(each.gpus.begin(), each.gpus.end());
    claims_.set(std::move(gpus));
    reconcile();
  }

  void stop() override {
    stopping_ = true;
    // First: whoever looks must not take us for ready while daemons go.
    set_ready(false);
    for (auto& [resource, daemon] : daemons_) daemon.supervisor->stop();
    claims_.set({});
    daemons_.clear();  // waits for each; they end side by side
  }

  std::vector<metrics::Problem> problems() const override {
    std::vector<metrics::Problem> out;
    for (const auto& [resource, daemon] : daemons_) {
      if (!daemon.state.error) continue;
      const Error& why = *daemon.state.error;
      out.push_back({metrics::Severity::kDegraded, "MPS daemon of " + resource + ": " + why.what,
                     why.subject,
                     why.hint.empty() ? "It is started again by itself; its log lines are in this "
                                        "process's log."
                                      : "Remedy: " + why.hint + "."});
    }
    if (ready_error_) {
      out.push_back({metrics::Severity::kDegraded, ready_error_->what, ready_error_->subject,
                     "Mount a writable directory there, or set --mps-dir."});
    }
    return out;
  }

  std::vector<metrics::Family> families() const override {
    metrics::Family ready{"kerf_mps_daemon_ready",
                          "Whether the MPS control daemon of a resource answers.",
                          metrics::Type::kGauge,
                          {},
                          {}};
    metrics::Family starts{"kerf_mps_daemon_starts_total",
                           "Starts of the MPS control daemon of a resource.",
                           metrics::Type::kCounter,
                           {},
                           {}};
    for (const auto& [resource, daemon] : daemons_) {
      const bool up = daemon.state.phase == Phase::kReady;
      ready.samples.push_back({{{"resource", resource}}, up ? 1.0 : 0.0});
      starts.samples.push_back(
          {{{"resource", resource}}, static_cast<double>(daemon.state.starts)});
    }
    return {ready, starts};
  }

 private:
  struct Daemon {
    State state;
    bool leaving = false;
    std::unique_ptr<Supervisor> supervisor;
  };

  void reconcile() {
    if (stopping_) return;
    for (auto it = daemons_.begin(); it != daemons_.end();) {
      Daemon& daemon = it->second;
      const bool as_wanted =
          std::ranges::find(wanted_, daemon.supervisor->wanted()) != wanted_.end();
      if (!as_wanted && !std::exchange(daemon.leaving, true)) daemon.supervisor->stop();
      it = daemon.leaving && daemon.supervisor->stopped() ? daemons_.erase(it) : std::next(it);
    }
    for (const mps::Wanted& each : wanted_) {
      // One that is leaving has the pipes until it is gone; its last word brings us here again.
      if (!daemons_.contains(each.resource)) start(each);
    }
    judge();
  }

  void start(const mps::Wanted& wanted) {
    mps::Surroundings around;
    around.root = root_;
    around.driver_root = driver_root_;
    around.path = search_path();
    around.selinux = join_path(surroundings_.roots.sys, "fs/selinux");
    for (char** each = environ; *each != nullptr; ++each) around.environment.emplace_back(*each);
    auto changed = [this, resource = wanted.resource](const State& state) {
      asio::post(surroundings_.loop, [this, resource, state] { on_state(resource, state); });
    };
    auto keeps = [this](const std::string& gpu) { return claims_.has(gpu); };
    auto supervisor = Supervisor::start(std::move(around), wanted, changed, keeps);
    if (!supervisor) {
      log::error("mps", "cannot supervise a daemon", supervisor.error());
      return;
    }
    daemons_[wanted.resource].supervisor = std::move(*supervisor);
  }

  void on_state(const std::string& resource, const State& state) {
    auto found = daemons_.find(resource);
    if (stopping_ || found == daemons_.end()) return;
    const Phase before = std::exchange(found->second.state, state).phase;
    if (before != state.phase) tell(resource, state);
    reconcile();
    surroundings_.changed();
  }

  void tell(const std::string& resource, const State& state) {
    using enum metrics::EventLevel;
    const std::string daemon = "The MPS daemon of " + resource;
    if (state.phase == Phase::kReady) surroundings_.note(kInfo, daemon + " is ready");
    if (state.phase == Phase::kStopped) surroundings_.note(kInfo, daemon + " was taken down");
    if (state.error) surroundings_.note(kWarn, daemon + " is in trouble: " + state.error->text());
  }

  void judge() {
    const bool all = std::ranges::all_of(wanted_, [this](const mps::Wanted& each) {
      auto found = daemons_.find(each.resource);
      return found != daemons_.end() && !found->second.leaving &&
             found->second.state.phase == Phase::kReady;
    });
    set_ready(all && planned_);
  }

  // Also without any daemon: then there is nothing to wait for.
  void set_ready(bool ready) {
    if (ready == ready_) return;
    const std::string path = mps::ready_file(root_);
    ready_error_.reset();
    if (ready) {
      std::error_code ignored;
      std::filesystem::create_directories(root_, ignored);
      if (!Fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644))) {
        ready_error_ = fail_errno("cannot make the file", path, errno).value();
        log::warn("mps", "not announced", *ready_error_);
        return;
      }
    } else if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      log::warn("mps", "not withdrawn", fail_errno("cannot remove", path, errno).value());
    }
    ready_ = ready;
  }

  const Surroundings& surroundings_;
  const std::string root_;
  std::string driver_root_;
  bool planned_ = false;
  bool stopping_ = false;
  bool ready_ = false;
  std::optional<Error> ready_error_;
  std::vector<mps::Wanted> wanted_;
  Claims claims_;                          // before daemons_: their threads read it
  std::map<std::string, Daemon> daemons_;  // by resource
};

}  // namespace

Result<std::unique_ptr<Component>> make_mps_component(const config::Effective& effective,
                                                      const Surroundings& surroundings) {
  return std::make_unique<MpsComponent>(effective, surroundings);
}

}  // namespace kerf::agent
