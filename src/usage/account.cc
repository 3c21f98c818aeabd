#include "usage/account.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace kerf::usage {
namespace {

// No board draws as much; what says so is a garbled reading.
constexpr double kMostWatts = 10'000;

std::set<std::string> devices_of(const Layout& layout) {
  std::set<std::string> out{layout.uuid};
  for (const Device& device : layout.devices) out.insert(device.uuid);
  return out;
}

// The device a process is on: the GPU itself, or the MIG device of its instance.
const Device* device_of(const ProcessFigures& process, const Layout& layout) {
  if (!layout.mig) return layout.devices.empty() ? nullptr : &layout.devices.front();
  for (const Device& device : layout.devices) {
    if (device.gpu_instance && device.gpu_instance == process.gpu_instance &&
        (!process.compute_instance || device.compute_instance == process.compute_instance)) {
      return &device;
    }
  }
  return nullptr;
}

// Energy since the reading before, in joules; nothing when neither counter nor power tells.
std::optional<double> joules(const GpuFigures& now, std::optional<std::uint64_t> before_mj,
                             double seconds) {
  if (now.energy_mj && before_mj && *now.energy_mj >= *before_mj) {
    const double delta = static_cast<double>(*now.energy_mj - *before_mj) / 1000;
    if (delta <= kMostWatts * seconds) return delta;
  }
  // A counter that went back was reset with the driver; then, and without one, power must do.
  if (now.power_mw && *now.power_mw <= kMostWatts * 1000) {
    return static_cast<double>(*now.power_mw) / 1000 * seconds;
  }
  return std::nullopt;
}

// Who worked how much, in any unit.
struct Weights {
  std::map<Key, double> owners;
  double others = 0;
  double sum = 0;
  void add(const ProcessFigures& process, const Device* device, const Layout& layout,
           double weight) {
    sum += weight;
    if (process.owner) {
      owners[{*process.owner, device != nullptr ? device->uuid : layout.uuid}] += weight;
    } else {
      others += weight;
    }
  }
};

Weights by_activity(const GpuFigures& figures, const Layout& layout) {
  Weights out;
  for (const ProcessFigures& process : figures.processes) {
    if (process.sm_percent && *process.sm_percent > 0) {
      out.add(process, device_of(process, layout), layout, *process.sm_percent);
    }
  }
  return out;
}

// Each MIG device with processes counts with its slices, shared equally by its processes.
Weights by_slices(const GpuFigures& figures, const Layout& layout, double& busy) {
  std::map<const Device*, unsigned> there;
  for (const ProcessFigures& process : figures.processes) {
    if (const Device* device = device_of(process, layout)) ++there[device];
  }
  Weights out;
  for (const ProcessFigures& process : figures.processes) {
    const Device* device = device_of(process, layout);
    if (device != nullptr) out.add(process, device, layout, double(device->slices) / there[device]);
  }
  // Slices that no device was made of do not work.
  busy = std::min(1.0, out.sum / std::max(layout.slices, 1U));
  return out;
}

}  // namespace

// What happened between two readings.
struct Account::Interval {
  std::int64_t now_ms = 0;
  double seconds = 0;
  std::optional<double> joules;
  std::optional<double> busy;  // 0 to 1; absent when nobody tells, or it is too long to say
  bool all_known = false;      // the driver listed the processes, and told what each did
  Weights weights;
};

Use& Account::use_of(const pods::Owner& owner, const std::string& uuid, std::int64_t now_ms) {
  Use& use = uses_[{owner, uuid}];
  use.last_ms = now_ms;
  return use;
}

void Account::missed(const Layout& layout, std::int64_t now_ms) {
  clear_now(layout);
  take_holdings(layout, now_ms);
  auto found = gpus_.find(layout.uuid);
  if (found == gpus_.end()) return;
  GpuUse& gpu = found->second;
  gpu.busy_ratio.reset();
  gpu.power_w.reset();
  gpu.temperature_c.reset();
  gpu.mean_w.reset();
  gpu.memory_used.reset();
  gpu.memory_host = gpu.memory_other = 0;
  gpu.busy_host_ratio = 0;
  gpu.processes_known = false;
}

void Account::keep_only(const std::map<std::string, Layout>& layouts) {
  std::set<std::string> devices;
  for (const auto& [uuid, layout] : layouts) {
    devices.insert(uuid);
    for (const Device& device : layout.devices) devices.insert(device.uuid);
  }
  std::erase_if(gpus_, [&](const auto& entry) { return !devices.contains(entry.first); });
  std::erase_if(before_, [&](const auto& entry) { return !devices.contains(entry.first); });
  std::erase_if(uses_, [&](const auto& entry) { return !devices.contains(entry.first.uuid); });
}

// Of what is true only now, so that nothing stays of what was true before.
void Account::clear_now(const Layout& layout) {
  const std::set<std::string> devices = devices_of(layout);
  for (auto& [key, use] : uses_) {
    if (!devices.contains(key.uuid)) continue;
    use.shares = use.of = use.processes = 0;
    use.memory_bytes = 0;
    use.limit_bytes.reset();
    use.has_quota = false;
    use.busy_ratio.reset();
    use.power_w.reset();
  }
}

void Account::take_holdings(const Layout& layout, std::int64_t now_ms) {
  for (const Holding& holding : layout.holdings) {
    Use& use = use_of(holding.owner, holding.uuid, now_ms);
    use.shares = holding.shares;
    use.of = holding.of;
    if (!holding.uid.empty()) use.uid = holding.uid;
    use.has_quota = holding.quota_bytes.has_value();
    use.limit_bytes = holding.quota_bytes;
    if (use.limit_bytes || holding.of == 0) continue;
    for (const Device& device : layout.devices) {
      if (device.uuid != holding.uuid || !device.memory_bytes) continue;
      use.limit_bytes = *device.memory_bytes / holding.of * holding.shares;
    }
  }
}

void Account::take_memory(const GpuFigures& figures, const Layout& layout, GpuUse& gpu) {
  std::uint64_t sum = 0;
  gpu.memory_host = 0;
  for (const ProcessFigures& process : figures.processes) {
    const std::uint64_t bytes = process.bytes.value_or(0);
    sum += bytes;
    if (!process.owner) {
      gpu.memory_host += bytes;
      continue;
    }
    const Device* device = device_of(process, layout);
    Use& use =
        use_of(*process.owner, device != nullptr ? device->uuid : layout.uuid, figures.mono_ms);
    use.memory_bytes += bytes;
    ++use.processes;
  }
  // Where the driver tells no memory of the GPU (unified memory), that of its processes is all.
  gpu.memory_used = figures.memory_used ? *figures.memory_used : sum;
  gpu.memory_other = *gpu.memory_used > sum ? *gpu.memory_used - sum : 0;
}

void Account::take_held(const Interval& interval, const Layout& layout) {
  for (const Holding& holding : layout.holdings) {
    if (holding.of == 0) continue;
    double part = static_cast<double>(holding.shares) / holding.of;
    for (const Device& device : layout.devices) {
      // A MIG device is a part of the GPU already.
      if (layout.mig && device.uuid == holding.uuid) {
        part *= static_cast<double>(device.slices) / std::max(layout.slices, 1U);
      }
    }
    uses_[{holding.owner, holding.uuid}].held_seconds += interval.seconds * part;
  }
}

void Account::split(const Interval& interval, GpuUse& gpu) {
  const double seconds = interval.seconds;
  const double energy = interval.joules.value_or(0);
  gpu.seconds += seconds;
  gpu.energy_j += energy;
  if (!interval.busy) {
    gpu.other_seconds += seconds;
    gpu.other_j += energy;
    return;
  }
  const double busy = *interval.busy;
  const Weights& weights = interval.weights;
  // When nobody worked, what is above the floor is idle as well.
  const bool idle = busy == 0 && weights.sum == 0;
  const double idle_j = idle ? energy : std::min(energy, gpu.floor_w * seconds) * (1 - busy);
  const double active_j = energy - idle_j;
  gpu.idle_seconds += (1 - busy) * seconds;
  gpu.idle_j += idle_j;
  for (const auto& [key, weight] : weights.owners) {
    const double part = weight / weights.sum;
    Use& use = use_of(key.owner, key.uuid, interval.now_ms);
    use.busy_ratio = busy * part;
    use.busy_seconds += busy * part * seconds;
    use.energy_j += active_j * part;
    if (interval.joules) use.power_w = active_j * part / seconds;
  }
  const double others = weights.sum > 0 ? weights.others / weights.sum : 1;
  gpu.busy_host_ratio = busy * others;
  gpu.other_seconds += busy * others * seconds;
  gpu.other_j += active_j * others;
}

// Says what is known now beyond the sums: nothing, under MIG, where activity is an assumption that
// is good for splitting and not for showing; else also of those that did not work.
void Account::settle(const Interval& interval, const Layout& layout, GpuUse& gpu) {
  const std::set<std::string> devices = devices_of(layout);
  if (layout.mig) gpu.busy_host_ratio = 0;
  for (auto& [key, use] : uses_) {
    if (!devices.contains(key.uuid) || use.last_ms != interval.now_ms) continue;
    if (layout.mig) {
      use.busy_ratio.reset();
    } else if (interval.busy && interval.all_known && !use.busy_ratio) {
      use.busy_ratio = 0;
      if (interval.joules) use.power_w = 0;
    }
  }
}

Account::Interval Account::interval_of(const GpuFigures& figures, const Layout& layout,
                                       const Before& before) const {
  Interval out;
  out.now_ms = figures.mono_ms;
  const std::int64_t length_ms = figures.mono_ms - before.mono_ms;
  out.seconds = static_cast<double>(length_ms) / 1000;
  out.joules = joules(figures, before.energy_mj, out.seconds);
  out.all_known = figures.processes_known &&
                  std::ranges::all_of(figures.processes, [](const ProcessFigures& process) {
                    return process.sm_percent.has_value();
                  });
  if (length_ms > options_.longest_ms) return out;
  if (layout.mig) {
    double busy = 0;
    out.weights = by_slices(figures, layout, busy);
    if (figures.processes_known) out.busy = busy;
    return out;
  }
  out.weights = by_activity(figures, layout);
  if (figures.busy_percent) {
    out.busy = std::clamp(*figures.busy_percent / 100, 0.0, 1.0);
  } else if (out.weights.sum > 0) {
    out.busy = std::min(1.0, out.weights.sum / 100);
  }
  return out;
}

void Account::add(const GpuFigures& figures, const Layout& layout) {
  std::optional<Before>& before = before_[figures.uuid];
  if (before && figures.mono_ms <= before->mono_ms) return;
  GpuUse& gpu = gpus_[figures.uuid];
  gpu.mono_ms = figures.mono_ms;
  gpu.wall_ms = figures.wall_ms;
  gpu.temperature_c = figures.temperature_c;
  gpu.memory_total = figures.memory_total;
  gpu.busy_host_ratio = 0;
  gpu.processes_known = figures.processes_known && figures.unseen + figures.unnamed == 0;
  gpu.untold_rounds = gpu.processes_known ? 0 : gpu.untold_rounds + 1;
  gpu.mean_w.reset();
  gpu.power_w.reset();
  if (figures.power_mw && *figures.power_mw <= kMostWatts * 1000) {
    gpu.power_w = static_cast<double>(*figures.power_mw) / 1000;
  }
  clear_now(layout);
  take_holdings(layout, figures.mono_ms);
  take_memory(figures, layout, gpu);
  gpu.busy_ratio.reset();
  if (figures.busy_percent) gpu.busy_ratio = std::clamp(*figures.busy_percent / 100, 0.0, 1.0);
  if (before) {
    const Interval interval = interval_of(figures, layout, *before);
    if (interval.joules && *interval.joules > 0) {
      const double watts = *interval.joules / interval.seconds;
      gpu.mean_w = watts;
      gpu.floor_w = gpu.floor_w == 0 ? watts : std::min(gpu.floor_w, watts);
    }
    take_held(interval, layout);
    split(interval, gpu);
    settle(interval, layout, gpu);
  }
  before = Before{figures.mono_ms, figures.energy_mj};
  forget(figures.mono_ms);
}

void Account::forget(std::int64_t now_ms) {
  std::erase_if(
      uses_, [&](const auto& entry) { return now_ms - entry.second.last_ms > options_.forget_ms; });
  while (uses_.size() > options_.most) {
    auto oldest =
        std::ranges::min_element(uses_, {}, [](const auto& entry) { return entry.second.last_ms; });
    uses_.erase(oldest);
  }
}

}  // namespace kerf::usage
