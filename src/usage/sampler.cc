#include "usage/sampler.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <pthread.h>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "nvml/events.h"
#include "nvml/library.h"
#include "nvml/processes.h"
#include "nvml/session.h"
#include "nvml/telemetry.h"
#include "pods/names.h"
#include "pods/processes.h"

namespace kerf::usage {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kNamesAgeMs = 2'000;
// Above any board's; drivers answer 0xFFFFFFFF and the like when they do not know.
constexpr std::uint32_t kHottest = 200;

// On the lane. Owns nothing that the caller may let go of.
struct Reading {
  GpuFigures figures;
  std::vector<nvml::RunningProcess> running;
};

template <typename T>
std::optional<T> value_of(const nvml::Figure<T>& figure) {
  return figure ? std::optional(figure.value) : std::nullopt;
}

// A driver that is gone as a whole says so in one of the calls; that one is the error.
Result<Reading> read_gpu(const nvml::Session& session, const nvml::Telemetry& telemetry,
                         const std::string& uuid, std::uint64_t since_us) {
  Result<nvml::abi::Device> gpu = session.gpu_by_uuid(uuid);
  if (!gpu) return fail(std::move(gpu.error()));
  Reading out;
  GpuFigures& figures = out.figures;
  figures.uuid = uuid;
  const auto power = telemetry.power(*gpu);
  if (nvml::is_driver_failure(static_cast<int>(power.code)) ||
      power.code == nvml::abi::kErrorGpuIsLost) {
    return fail(nvml::error_for(power.code, "nvmlDeviceGetPowerUsage", uuid));
  }
  figures.power_mw = value_of(power);
  figures.energy_mj = value_of(telemetry.energy(*gpu));
  if (auto busy = telemetry.utilization(*gpu); busy && busy.value.gpu <= 100) {
    figures.busy_percent = busy.value.gpu;
  }
  if (auto celsius = telemetry.temperature(*gpu); celsius && celsius.value <= kHottest) {
    figures.temperature_c = celsius.value;
  }
  if (auto memory = telemetry.memory(*gpu); memory && memory.value.total > 0) {
    figures.memory_total = memory.value.total;
    figures.memory_used = memory.value.used;
  }
  if (auto running = nvml::running_processes(session, *gpu)) {
    figures.processes_known = true;
    out.running = std::move(*running);
  }
  auto activity = nvml::process_activity(session, *gpu, since_us);
  for (const nvml::RunningProcess& process : out.running) {
    ProcessFigures& each = figures.processes.emplace_back();
    each.pid = process.pid;
    each.bytes = process.bytes;
    each.gpu_instance = process.gpu_instance;
    each.compute_instance = process.compute_instance;
    if (activity) each.sm_percent = 0;
  }
  if (!activity) return out;
  for (const nvml::ProcessActivity& busy : *activity) {
    auto same = std::ranges::find(figures.processes, busy.pid, &ProcessFigures::pid);
    // One that was busy and has ended since.
    if (same == figures.processes.end()) {
      figures.processes.emplace_back().pid = busy.pid;
      same = std::prev(figures.processes.end());
      same->ended = true;
    }
    same->sm_percent = busy.sm;
  }
  return out;
}

}  // namespace

struct Sampler::Impl {
  Impl(SamplerOptions opts, std::function<void(Sample)> told)
      : options(std::move(opts)),
        on_sample(std::move(told)),
        processes(options.roots.proc),
        interval(options.interval) {}

  void run() {
    while (true) {
      std::vector<std::string> now;
      {
        std::unique_lock lock(mutex);
        wake.wait_for(lock, first ? milliseconds(0) : interval,
                      [this] { return stopping || asked; });
        if (stopping) return;
        first = false;
        asked = false;
        now = gpus;
      }
      Sample sample = round(now);
      std::unique_lock lock(mutex);
      if (stopping) return;
      ++rounds;
      lock.unlock();
      on_sample(std::move(sample));
    }
  }

  Sample round(const std::vector<std::string>& uuids) {
    Sample out;
    if (uuids.empty()) {
      drop_session();
      return out;
    }
    if (Status ready = open_session(); !ready) {
      out.driver = std::move(ready.error());
      return out;
    }
    const auto now_us = static_cast<std::uint64_t>(options.clock->wall_ms()) * 1000;
    // A clock that was set back must not hide samples until it has caught up.
    const std::uint64_t since_us = std::min(last_us, now_us);
    last_us = now_us;
    bool driver_gone = false;
    for (const std::string& uuid : uuids) {
      Result<Reading> reading = lane.call(
          uuid, options.call_deadline, [slot = slot, uuid, since_us]() -> Result<Reading> {
            auto session = slot->get();
            if (!session) return fail(Kind::kGone, "the driver was let go of", uuid);
            return read_gpu(*session, nvml::Telemetry(session), uuid, since_us);
          });
      if (!reading) {
        driver_gone |= nvml::is_driver_failure(reading.error().native);
        out.failures.emplace(uuid, std::move(reading.error()));
        continue;
      }
      reading->figures.mono_ms = options.clock->mono_ms();
      reading->figures.wall_ms = options.clock->wall_ms();
      out.gpus.push_back(std::move(reading->figures));
    }
    if (driver_gone) drop_session();
    name(out);
    return out;
  }

  Status open_session() {
    if (open) return {};
    Status opened = lane.call(
        "driver", options.init_deadline,
        [slot = slot, counters = counters, candidates = options.library_candidates]() -> Status {
          auto library = slot->libraries().open(candidates);
          if (!library) return fail(std::move(library.error()));
          auto session = nvml::Session::open(std::move(*library), counters);
          if (!session) return fail(std::move(session.error()));
          slot->set(std::move(*session));
          return {};
        });
    open = opened.has_value();
    return opened;
  }

  // On the lane, because letting go of the last session calls into the driver.
  void drop_session() {
    if (!std::exchange(open, false)) return;
    static_cast<void>(lane.call("driver", options.init_deadline, [slot = slot]() -> Status {
      slot->clear();
      return {};
    }));
  }

  // --- whose they are -------------------------------------------------------------------------
  void name(Sample& sample) {
    pods::PodsPtr pods;
    {
      const std::lock_guard lock(mutex);
      pods = known_pods;
    }
    std::set<std::uint32_t> pids;
    for (GpuFigures& gpu : sample.gpus) {
      for (ProcessFigures& each : gpu.processes) {
        pids.insert(each.pid);
        Result<pods::Process> process = processes.look(each.pid);
        if (!process) {
          // One that has ended is nobody's; one that runs should be there to be seen.
          if (!each.ended) ++gpu.unseen;
          continue;
        }
        if (const auto& member = process->member) {
          each.owner = owner_of(*member, *pods);
          if (!each.owner) ++sample.unnamed;
          if (!each.ended && (!each.owner || each.owner->container.empty())) ++gpu.unnamed;
        }
      }
      sample.unseen += gpu.unseen;
    }
    processes.keep_only(pids);
  }

  std::optional<pods::Owner> owner_of(const pods::Membership& member, const pods::Pods& pods) {
    auto owner = pods::owner_of(member, pods, names);
    const std::int64_t now = options.clock->mono_ms();
    if ((owner && !owner->container.empty()) || (names_ms != 0 && now - names_ms < kNamesAgeMs)) {
      return owner;
    }
    names = pods::read_names(options.roots.var);
    names_ms = now;
    return pods::owner_of(member, pods, names);
  }

  const SamplerOptions options;
  const std::function<void(Sample)> on_sample;
  nvml::Lane lane{"usage-call"};
  const std::shared_ptr<nvml::SessionSlot> slot = std::make_shared<nvml::SessionSlot>();
  const std::shared_ptr<nvml::CallCounters> counters = std::make_shared<nvml::CallCounters>();
  // Of the thread.
  pods::Processes processes;
  pods::NameBook names;
  std::int64_t names_ms = 0;
  std::uint64_t last_us = 0;
  bool open = false;
  bool first = true;

  mutable std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::string> gpus;
  milliseconds interval;
  pods::PodsPtr known_pods = std::make_shared<const pods::Pods>();
  std::uint64_t rounds = 0;
  bool asked = false;
  bool stopping = false;
  std::thread thread;
};

Sampler::Sampler(SamplerOptions options, std::function<void(Sample)> on_sample)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(on_sample))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
  pthread_setname_np(impl_->thread.native_handle(), "usage");
}

Sampler::~Sampler() { stop(); }

void Sampler::set_gpus(std::vector<std::string> uuids) {
  const std::lock_guard lock(impl_->mutex);
  if (uuids == impl_->gpus) return;
  impl_->gpus = std::move(uuids);
  impl_->asked = true;
  impl_->wake.notify_all();
}

void Sampler::set_interval(milliseconds interval) {
  const std::lock_guard lock(impl_->mutex);
  if (interval == impl_->interval) return;
  impl_->interval = interval;
  impl_->asked = true;
  impl_->wake.notify_all();
}

void Sampler::set_pods(pods::PodsPtr pods) {
  const std::lock_guard lock(impl_->mutex);
  impl_->known_pods = std::move(pods);
}

void Sampler::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    if (std::exchange(impl_->stopping, true)) return;
    impl_->wake.notify_all();
  }
  // Wakes the thread when it waits for a call that hangs.
  impl_->lane.stop(milliseconds(500), [slot = impl_->slot] { slot->clear(); });
  if (impl_->thread.joinable()) impl_->thread.join();
}

SamplerStats Sampler::stats() const {
  SamplerStats out;
  out.nvml = impl_->counters->read();
  out.lane = impl_->lane.stats();
  const std::lock_guard lock(impl_->mutex);
  out.rounds = impl_->rounds;
  return out;
}

}  // namespace kerf::usage
