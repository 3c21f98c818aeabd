#include "agent/usage_view.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

namespace kerf::agent {
namespace {

using metrics::Family;
using metrics::Labels;
using metrics::Type;

constexpr float kAbsent = std::numeric_limits<float>::quiet_NaN();

Family gauge(const char* name, const char* help) { return {name, help, Type::kGauge, {}, {}}; }
Family counter(const char* name, const char* help) { return {name, help, Type::kCounter, {}, {}}; }

void put(Family& family, const Labels& labels, std::optional<double> value) {
  if (value) family.samples.push_back({labels, *value});
}

std::optional<double> number(const std::optional<std::uint64_t>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

// The NVML index of each GPU and of the GPU of each MIG device.
std::map<std::string, std::string> indices(const inventory::Snapshot& snapshot) {
  std::map<std::string, std::string> out;
  for (const inventory::Gpu& gpu : snapshot.gpus) {
    out[gpu.uuid] = std::to_string(gpu.index);
    for (const inventory::MigDevice& mig : gpu.mig_devices) out[mig.uuid] = out[gpu.uuid];
  }
  return out;
}

struct PodFamilies {
  Family memory = gauge("kerf_pod_gpu_memory_bytes", "Device memory that a container uses.");
  Family limit = gauge("kerf_pod_gpu_memory_limit_bytes",
                       "Device memory that is a container's: its fair share, or its quota.");
  Family over = gauge("kerf_pod_gpu_memory_over_limit",
                      "Whether a container has used more than that for the watchdog's window.");
  Family busy = gauge("kerf_pod_gpu_utilization_ratio",
                      "Part of the GPU's time that worked for a container. Containers, the host "
                      "and unknown work add up to kerf_gpu_utilization_ratio.");
  Family power = gauge("kerf_pod_gpu_power_watts",
                       "Power that a container's work drew, by its share of the GPU's activity.");
  Family processes = gauge("kerf_pod_gpu_processes", "Processes of a container on a device.");
  Family shares = gauge("kerf_pod_gpu_share_ratio",
                        "Part of a device that a container holds; 0 when it holds none.");
  Family energy = counter("kerf_pod_gpu_energy_joules_total",
                          "Energy that a container's work took, by its share of the activity.");
  Family seconds =
      counter("kerf_pod_gpu_busy_seconds_total", "GPU time that worked for a container.");
  Family held = counter("kerf_pod_gpu_held_seconds_total",
                        "GPU time set aside for a container: time held by the part it holds.");

  void add(const Labels& labels, const usage::Use& use, bool above) {
    put(memory, labels, static_cast<double>(use.memory_bytes));
    put(limit, labels, number(use.limit_bytes));
    if (use.limit_bytes) put(over, labels, above ? 1 : 0);
    put(busy, labels, use.busy_ratio);
    put(power, labels, use.power_w);
    put(processes, labels, use.processes);
    put(shares, labels, use.of > 0 ? static_cast<double>(use.shares) / use.of : 0.0);
    put(energy, labels, use.energy_j);
    put(seconds, labels, use.busy_seconds);
    put(held, labels, use.held_seconds);
  }
  void move_to(std::vector<Family>& out) {
    for (Family* each :
         {&memory, &limit, &over, &busy, &power, &processes, &shares, &energy, &seconds, &held}) {
      out.push_back(std::move(*each));
    }
  }
};

struct GpuFamilies {
  Family busy = gauge("kerf_gpu_utilization_ratio", "Part of its time that a GPU worked.");
  Family power = gauge("kerf_gpu_power_watts", "Power that a GPU draws.");
  Family heat = gauge("kerf_gpu_temperature_celsius", "Temperature of a GPU's core.");
  Family memory = gauge("kerf_gpu_memory_used_bytes", "Device memory in use.");
  Family total = gauge("kerf_gpu_memory_total_bytes", "Device memory there is.");
  Family floor =
      gauge("kerf_gpu_idle_power_watts", "The least power seen, taken for what an idle GPU draws.");
  Family energy = counter("kerf_gpu_energy_joules_total", "Energy that a GPU took.");
  Family seconds = counter("kerf_gpu_observed_seconds_total", "Time that a GPU was observed.");
  Family no_memory = gauge("kerf_gpu_unattributed_memory_bytes",
                           "Device memory of no container: of processes of the host, or other.");
  Family no_busy = gauge("kerf_gpu_unattributed_utilization_ratio",
                         "Part of a GPU's time that worked for no container.");
  Family no_energy = counter("kerf_gpu_unattributed_energy_joules_total",
                             "Energy of no container: of idle time, or other.");
  Family no_seconds =
      counter("kerf_gpu_unattributed_seconds_total", "GPU time of no container: idle, or other.");

  void add(const Labels& labels, const usage::GpuUse& use) {
    auto with = [&labels](const char* what) {
      Labels out = labels;
      out.emplace_back("share", what);
      return out;
    };
    put(busy, labels, use.busy_ratio);
    put(power, labels, use.power_w);
    if (use.temperature_c) put(heat, labels, *use.temperature_c);
    put(memory, labels, number(use.memory_used));
    put(total, labels, number(use.memory_total));
    if (use.floor_w > 0) put(floor, labels, use.floor_w);
    put(energy, labels, use.energy_j);
    put(seconds, labels, use.seconds);
    if (use.memory_used) {
      put(no_memory, with("host"), static_cast<double>(use.memory_host));
      put(no_memory, with("other"), static_cast<double>(use.memory_other));
    }
    if (use.busy_ratio) put(no_busy, labels, use.busy_host_ratio);
    put(no_energy, with("idle"), use.idle_j);
    put(no_energy, with("other"), use.other_j);
    put(no_seconds, with("idle"), use.idle_seconds);
    put(no_seconds, with("other"), use.other_seconds);
  }
  void move_to(std::vector<Family>& out) {
    for (Family* each : {&busy, &power, &heat, &memory, &total, &floor, &energy, &seconds,
                         &no_memory, &no_busy, &no_energy, &no_seconds}) {
      out.push_back(std::move(*each));
    }
  }
};

metrics::PodUse pod_use(const usage::Key& key, const usage::Use& use, bool over) {
  metrics::PodUse out;
  out.pod_namespace = key.owner.name_space;
  out.pod = key.owner.pod;
  out.container = key.owner.container;
  out.device = key.uuid;
  out.shares = use.shares;
  out.of = use.of;
  out.processes = use.processes;
  out.memory_bytes = use.memory_bytes;
  out.limit_bytes = use.limit_bytes;
  out.over_limit = over;
  out.busy_ratio = use.busy_ratio;
  out.power_watts = use.power_w;
  out.energy_joules = use.energy_j;
  return out;
}

std::optional<double> shown(float value) {
  return std::isnan(value) ? std::nullopt : std::optional<double>(value);
}

}  // namespace

void UsageHistory::add(const std::string& gpu, const usage::GpuUse* use) {
  std::deque<Point>& points = points_[gpu];
  Point point{kAbsent, kAbsent, kAbsent};
  if (use != nullptr) {
    if (use->busy_ratio) point.busy = static_cast<float>(*use->busy_ratio);
    if (use->power_w) point.power = static_cast<float>(*use->power_w);
    if (use->temperature_c) point.temperature = static_cast<float>(*use->temperature_c);
  }
  points.push_back(point);
  while (points.size() > kPoints) points.pop_front();
}

void UsageHistory::keep_only(const std::set<std::string>& gpus) {
  std::erase_if(points_, [&gpus](const auto& entry) { return !gpus.contains(entry.first); });
}

void UsageHistory::describe(const std::string& gpu, metrics::GpuUse& into) const {
  auto found = points_.find(gpu);
  if (found == points_.end()) return;
  for (const Point& point : found->second) {
    into.busy.push_back(shown(point.busy));
    into.power.push_back(shown(point.power));
    into.temperature.push_back(shown(point.temperature));
  }
}

std::vector<Family> usage_families(const usage::Account& account,
                                   const inventory::Snapshot& snapshot, const OverLimit& over) {
  const std::map<std::string, std::string> index = indices(snapshot);
  auto index_of = [&index](const std::string& uuid) {
    auto found = index.find(uuid);
    return found != index.end() ? found->second : std::string();
  };
  PodFamilies pods;
  for (const auto& [key, use] : account.uses()) {
    const Labels labels{{"namespace", key.owner.name_space},
                        {"pod", key.owner.pod},
                        {"container", key.owner.container},
                        {"gpu", index_of(key.uuid)},
                        {"UUID", key.uuid}};
    pods.add(labels, use, over.contains(key));
  }
  GpuFamilies gpus;
  for (const auto& [uuid, use] : account.gpus()) {
    gpus.add({{"gpu", index_of(uuid)}, {"uuid", uuid}}, use);
  }
  std::vector<Family> out;
  pods.move_to(out);
  gpus.move_to(out);
  return out;
}

void describe_usage(const usage::Account& account, const UsageHistory& history,
                    const OverLimit& over, std::int64_t interval_ms, metrics::NodeStatus& into) {
  for (metrics::GpuStatus& gpu : into.gpus) {
    auto found = account.gpus().find(gpu.uuid);
    if (found == account.gpus().end()) continue;
    const usage::GpuUse& use = found->second;
    metrics::GpuUse& out = gpu.use.emplace();
    out.sampled_ms = use.wall_ms;
    out.busy_ratio = use.busy_ratio;
    out.power_watts = use.power_w;
    if (use.temperature_c) out.temperature_celsius = *use.temperature_c;
    out.memory_used_bytes = use.memory_used;
    out.memory_total_bytes = use.memory_total;
    out.memory_host_bytes = use.memory_host;
    out.memory_other_bytes = use.memory_other;
    out.interval_ms = interval_ms;
    history.describe(gpu.uuid, out);
    std::set<std::string> devices{gpu.uuid};
    for (const metrics::MigStatus& mig : gpu.mig_devices) devices.insert(mig.uuid);
    for (const auto& [key, each] : account.uses()) {
      // Those of before stay in the metrics for a while, but are here no longer.
      const bool here = each.shares > 0 || each.processes > 0;
      if (here && devices.contains(key.uuid))
        out.pods.push_back(pod_use(key, each, over.contains(key)));
    }
    // Not std::stable_sort, whose helper is deprecated: names make the order one and the same.
    std::ranges::sort(out.pods, [](const metrics::PodUse& a, const metrics::PodUse& b) {
      return std::tie(b.memory_bytes, a.pod_namespace, a.pod, a.container, a.device) <
             std::tie(a.memory_bytes, b.pod_namespace, b.pod, b.container, b.device);
    });
  }
}

}  // namespace kerf::agent
