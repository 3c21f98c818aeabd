#include "power/keeper.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "inventory/builder.h"
#include "nvml/errors.h"
#include "nvml/events.h"
#include "nvml/lane.h"
#include "nvml/thread.h"
#include "power/journal.h"

namespace kerf::power {

using std::chrono::milliseconds;

// Owned by the keeper and its thread together.
class Keeper::Thread : public std::enable_shared_from_this<Thread> {
 public:
  Thread(KeeperOptions options, OnReport on_report)
      : options_(std::move(options)),
        on_report_(std::move(on_report)),
        controller_(options_.power),
        stop_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        restores_(options_.power.restore_on_exit) {}

  void run();
  template <typename Change>
  void put(Change change) {
    {
      std::lock_guard lock(mutex_);
      change(*this);
    }
    wake_.notify_all();
  }
  void observe(Node node) {
    put([&](Thread& t) { t.node_ = std::move(node); });
  }
  void configure(config::PowerOptions power) {
    put([&](Thread& t) {
      t.restores_ = power.restore_on_exit;
      t.power_ = std::move(power);
    });
  }
  void stop();

 private:
  // Waits until it is time to look; false when it is time to end.
  bool wait();
  void take_mail();
  bool stopping() {
    std::lock_guard lock(mutex_);
    return stopping_;
  }
  std::int64_t now_ms() const { return options_.clock->mono_ms(); }

  void look();
  bool open();
  void close();
  void carry_out(const Command& command);
  void report();
  void restore();

  inventory::DriverAccess access() { return {lane_, slot_, options_.call_deadline}; }

  const KeeperOptions options_;
  OnReport on_report_;
  Controller controller_;
  Journal journal_;
  nvml::Lane lane_{"power-call"};
  std::shared_ptr<nvml::SessionSlot> slot_ = std::make_shared<nvml::SessionSlot>();
  std::shared_ptr<nvml::CallCounters> counters_ = std::make_shared<nvml::CallCounters>();
  Fd stop_event_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool finished_ = false;
  bool restores_;
  std::optional<Node> node_;                   // the newest, not yet taken
  std::optional<config::PowerOptions> power_;  // the same
};

void Keeper::Thread::run() {
  while (wait()) look();
  const bool restores = [this] {
    std::lock_guard lock(mutex_);
    return restores_;
  }();
  if (restores) restore();
  std::lock_guard lock(mutex_);
  finished_ = true;
  wake_.notify_all();
}

void Keeper::Thread::take_mail() {
  if (auto power = std::exchange(power_, std::nullopt)) {
    controller_.configure(std::move(*power), now_ms());
  }
  if (auto node = std::exchange(node_, std::nullopt)) {
    controller_.observe(std::move(*node), now_ms());
  }
}

bool Keeper::Thread::wait() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    take_mail();
    const std::int64_t due = controller_.due_ms();
    const std::int64_t now = now_ms();
    if (due <= now) return true;
    auto has_mail = [&] { return stopping_ || node_ || power_; };
    if (due == Controller::kNever) {
      wake_.wait(lock, has_mail);
    } else {
      wake_.wait_for(lock, milliseconds(due - now), has_mail);
    }
  }
  return false;
}

bool Keeper::Thread::open() {
  auto driver = inventory::start_driver(access(), options_.library_candidates, counters_);
  if (driver) return true;
  controller_.unreachable(driver.error(), now_ms());
  return false;
}

void Keeper::Thread::close() {
  static_cast<void>(lane_.call("driver", options_.call_deadline, [slot = slot_]() -> Status {
    slot->clear();
    return {};
  }));
}

void Keeper::Thread::look() {
  if (open()) {
    std::vector<Reading> readings;
    for (const Gpu& gpu : controller_.to_read()) {
      if (stopping()) return;
      readings.push_back(read_gpu(access(), gpu));
    }
    for (const Command& command : controller_.decide(readings, now_ms())) {
      if (stopping()) return;
      if (controller_.may(command)) carry_out(command);
    }
    close();
    controller_.finish(now_ms());
  }
  if (stopping()) return;
  report();
}

void Keeper::Thread::carry_out(const Command& command) {
  Status outcome = command.what == Command::What::kTimeSlice
                       ? set_time_slice(options_.smi, command, stop_event_.get())
                       : apply(access(), command);
  std::optional<std::uint32_t> held;
  if (outcome && command.what == Command::What::kLimit) {
    if (auto limit = read_limit(access(), command.uuid)) held = *limit;
  }
  if (stopping()) return;
  outcome = controller_.done(command, outcome, held, now_ms());
  for (const GpuReport& gpu : controller_.report().gpus) {
    if (gpu.reading.gpu.uuid == command.uuid) journal_.tell(command, gpu, outcome);
  }
}

void Keeper::Thread::report() {
  journal_.tell(controller_.report());
  on_report_(std::make_shared<const Report>(controller_.report()));
}

void Keeper::Thread::restore() {
  const std::vector<Command> commands = controller_.restore();
  if (commands.empty()) return;
  if (auto driver = inventory::start_driver(access(), options_.library_candidates, counters_);
      !driver) {
    log::warn("power", "defaults not put back", driver.error());
    return;
  }
  for (const Command& command : commands) {
    Status outcome = command.what == Command::What::kTimeSlice
                         ? set_time_slice(options_.smi, command, -1)
                         : apply(access(), command);
    if (!outcome) {
      log::warn("power", "default not put back", outcome.error());
    } else {
      log::info(
          "power", "default put back",
          {{"what", subject_of(command.what)}, {"now", value_of(command)}, {"uuid", command.uuid}});
    }
  }
  close();
}

void Keeper::Thread::stop() {
  bool restores = false;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    restores = restores_;
  }
  wake_.notify_all();
  const std::uint64_t one = 1;
  static_cast<void>(write(stop_event_.get(), &one, sizeof one));
  auto finish_within = [this](milliseconds limit) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, limit, [&] { return finished_; });
  };
  if (restores && !finish_within(options_.restore_deadline)) {
    log::warn("power", "defaults not put back: the driver does not answer in time");
  }
  // Wakes the thread if it waits for the driver; the session ends on the lane, after whatever is
  // still running there.
  lane_.stop(milliseconds(400), [slot = slot_] { slot->clear(); });
  finish_within(milliseconds(400));
}

Result<std::unique_ptr<Keeper>> Keeper::start(KeeperOptions options, OnReport on_report) {
  auto thread = std::make_shared<Thread>(std::move(options), std::move(on_report));
  if (Status started = nvml::start_detached("power", [thread] { thread->run(); }); !started) {
    return fail(std::move(started.error()));
  }
  return std::unique_ptr<Keeper>(new Keeper(std::move(thread)));
}

Keeper::~Keeper() { stop(); }

void Keeper::observe(Node node) {
  if (thread_) thread_->observe(std::move(node));
}

void Keeper::configure(config::PowerOptions power) {
  if (thread_) thread_->configure(std::move(power));
}

void Keeper::stop() {
  if (!thread_) return;
  thread_->stop();
  thread_.reset();
}

}  // namespace kerf::power
