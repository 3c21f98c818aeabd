// Node states that tests and the page's test server show: made by hand, no hardware behind them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/node_status.h"

namespace kerf::samples {

inline constexpr std::int64_t kNow = 1'780'000'000'000;  // 2026-05-28T20:26:40Z

inline metrics::GpuStatus gpu(unsigned index, std::string name, std::uint64_t memory_mib,
                              unsigned replicas) {
  metrics::GpuStatus out;
  char tail[16];
  std::snprintf(tail, sizeof tail, "%012x", 0xa1b2c3 + index * 0x111);
  out.index = index;
  out.uuid = "GPU-6f1e2d3c-4b5a-4978-8695-" + std::string(tail);
  out.name = std::move(name);
  char pci[20];
  std::snprintf(pci, sizeof pci, "0000:%02x:00.0", 0x3b + index * 0x11 % 0xb0);
  out.pci = pci;
  out.numa_node = static_cast<int>(index % 2);
  out.memory_mib = memory_mib;
  for (unsigned i = 0; i < replicas; ++i) {
    std::string id = replicas == 1 ? out.uuid : out.uuid + "::" + std::to_string(i);
    out.slices.push_back({id, "nvidia.com/gpu", "", true, {}});
  }
  return out;
}

inline void use(metrics::GpuStatus& gpu, std::size_t slice, std::string pod) {
  metrics::SliceUse held;
  held.since_ms = kNow - 754'000 - static_cast<std::int64_t>(slice) * 61'000;
  if (!pod.empty()) {
    held.source = metrics::UseSource::kPodResources;
    held.pod_namespace = "gpu-device-plugin";
    held.pod = std::move(pod);
    held.container = "cuda-test";
  }
  gpu.slices[slice].use = std::move(held);
}

// What it does of late, and what each pod that holds a slice uses of it.
inline void busy(metrics::GpuStatus& gpu) {
  metrics::GpuUse& use = gpu.use.emplace();
  use.sampled_ms = kNow - 1'000;
  use.interval_ms = 5'000;
  for (int i = 0; i < 120; ++i) {
    const bool gap = i > 40 && i < 46;
    const double wave = 0.5 + 0.4 * ((i * 7 + static_cast<int>(gpu.index) * 13) % 23 - 11) / 11.0;
    use.busy.push_back(gap ? std::nullopt : std::optional(wave));
    use.power.push_back(gap ? std::nullopt : std::optional(90 + 220 * wave));
    use.temperature.push_back(gap ? std::nullopt : std::optional(48 + 20 * wave));
  }
  use.busy_ratio = use.busy.back();
  use.power_watts = use.power.back();
  use.temperature_celsius = 64;
  use.memory_total_bytes = gpu.memory_mib.value_or(0) << 20;
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < gpu.slices.size(); ++i) {
    const auto& held = gpu.slices[i].use;
    if (!held || held->pod.empty()) continue;
    metrics::PodUse pod;
    pod.pod_namespace = held->pod_namespace;
    pod.pod = held->pod;
    pod.container = held->container;
    pod.device = gpu.uuid;
    pod.shares = 1;
    pod.of = static_cast<unsigned>(gpu.slices.size());
    pod.processes = 1;
    pod.memory_bytes = (7ULL << 30) / (i + 1);
    pod.limit_bytes = *use.memory_total_bytes / gpu.slices.size();
    pod.over_limit = pod.memory_bytes > *pod.limit_bytes;
    pod.busy_ratio = *use.busy_ratio / static_cast<double>(i + 2);
    pod.power_watts = *use.power_watts / static_cast<double>(i + 2);
    pod.energy_joules = 123'456.789;
    used += pod.memory_bytes;
    use.pods.push_back(pod);
  }
  use.memory_other_bytes = 300ULL << 20;
  use.memory_used_bytes = used + use.memory_other_bytes;
}

// Fills the resource's counts from the GPUs.
inline void count(metrics::NodeStatus& node, unsigned replicas) {
  metrics::ResourceStatus r;
  r.name = "nvidia.com/gpu";
  r.sharing = replicas > 1 ? "time-slicing" : "none";
  r.replicas = replicas;
  r.registered = true;
  r.registered_since_ms = kNow - 7'380'000;
  r.socket = "/var/lib/kubelet/device-plugins/nvidia-gpu.sock";
  for (const auto& g : node.gpus) {
    r.total += g.slices.size();
    for (const auto& s : g.slices) {
      r.healthy += s.healthy ? 1 : 0;
      r.in_use += s.use ? 1 : 0;
    }
  }
  node.resources = {r};
}

inline metrics::NodeStatus base_node() {
  metrics::NodeStatus node;
  node.version = "0.1.0";
  node.node = "talos-worker-1";
  node.now_ms = kNow;
  node.started_ms = kNow - 7'384'000;
  node.started = true;
  node.fail_on_init_error = false;
  node.driver_was_ready = true;
  node.driver = {metrics::DriverState::kReady, "580.126.09", "13.0",
                 "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", ""};
  node.kubelet = {"/var/lib/kubelet/device-plugins/kubelet.sock", true, ""};
  node.config.source = "/config/config.yaml";
  node.config.last_reload_ms = node.started_ms;
  auto event = [&](std::int64_t ago_ms, metrics::EventLevel level, std::string text) {
    node.events.push_back({kNow - ago_ms, level, std::move(text)});
  };
  event(7'384'000, metrics::EventLevel::kInfo, "started, version 0.1.0");
  event(7'381'000, metrics::EventLevel::kInfo, "driver 580.126.09 found");
  return node;
}

// Two RTX 3090s at four slices each, five of the eight in use.
inline metrics::NodeStatus healthy() {
  auto node = base_node();
  node.gpus = {gpu(0, "NVIDIA GeForce RTX 3090", 24576, 4),
               gpu(1, "NVIDIA GeForce RTX 3090", 24576, 4)};
  for (std::size_t i = 0; i < 4; ++i) use(node.gpus[0], i, "gpu-test-" + std::to_string(i + 1));
  use(node.gpus[1], 2, "");
  for (auto& each : node.gpus) busy(each);
  count(node, 4);
  node.events.push_back({kNow - 7'380'000, metrics::EventLevel::kInfo,
                         "nvidia.com/gpu registered with the kubelet, 8 devices"});
  node.events.push_back({kNow - 754'000, metrics::EventLevel::kInfo, "allocated slice 3 of GPU 0"});
  return node;
}

// The same node after an Xid on GPU 1, with one refused configuration.
inline metrics::NodeStatus one_unhealthy() {
  auto node = healthy();
  auto& sick = node.gpus[1];
  sick.health = {false, "xid", "Xid 79: GPU has fallen off the bus", kNow - 95'000};
  for (auto& slice : sick.slices) slice.healthy = false;
  count(node, 4);
  node.config.last_error = "/config/config.yaml:7:17: replicas must be 2 or more, got \"-1\"";
  node.config.warnings = {
      "/config/config.yaml:9:5: unknown key \"renameByDefualt\"; did you mean "
      "\"renameByDefault\"?"};
  node.events.push_back({kNow - 95'000, metrics::EventLevel::kError,
                         "GPU 1 is unhealthy: Xid 79: GPU has fallen off the bus"});
  node.events.push_back({kNow - 30'000, metrics::EventLevel::kWarn, "new configuration refused"});
  return node;
}

// A node without a driver that is told to wait for one.
inline metrics::NodeStatus no_driver() {
  auto node = base_node();
  node.driver = {metrics::DriverState::kAbsent, "", "", "",
                 "libnvidia-ml.so.1 is in none of the searched places"};
  node.driver_was_ready = false;
  node.events.pop_back();
  node.events.push_back(
      {kNow - 7'383'000, metrics::EventLevel::kWarn, "no NVIDIA driver found; waiting for one"});
  return node;
}

// Sixteen GPUs at a hundred replicas each, some held.
inline metrics::NodeStatus large() {
  auto node = base_node();
  for (unsigned g = 0; g < 16; ++g) {
    node.gpus.push_back(gpu(g, "NVIDIA H200", 143771, 100));
    for (std::size_t i = 0; i < 100; ++i) {
      if ((i * 7 + g * 13) % 10 < 4) use(node.gpus[g], i, "job-" + std::to_string(g * 100 + i));
    }
    busy(node.gpus[g]);
  }
  count(node, 100);
  return node;
}

// An A100 cut into MIG devices, and a GB10 whose memory is the system's.
inline metrics::NodeStatus mig() {
  auto node = base_node();
  auto a100 = gpu(0, "NVIDIA A100-SXM4-80GB", 81920, 0);
  for (unsigned i = 0; i < 3; ++i) {
    std::string uuid = "MIG-0c7575ff-9a5e-5ae6-a4f5-54c1a0a0000" + std::to_string(i);
    a100.mig_devices.push_back({uuid, i == 0 ? "3g.40gb" : "1g.10gb", i == 0 ? 40960u : 9728u, {}});
    a100.slices.push_back(
        {uuid, i == 0 ? "nvidia.com/mig-3g.40gb" : "nvidia.com/mig-1g.10gb", uuid, true, {}});
  }
  use(a100, 1, "notebook-0");
  auto gb10 = gpu(1, "NVIDIA GB10", 0, 1);
  gb10.memory_mib.reset();
  gb10.numa_node.reset();
  node.gpus = {a100, gb10};
  count(node, 1);
  return node;
}

// Text that tries to break out of every format it is put into.
inline metrics::NodeStatus hostile() {
  auto node = healthy();
  const std::string bad = "</script><img src=x onerror=alert(1)>\"'&\\\n\x1b[31m\xff{}";
  node.node = bad;
  node.gpus[0].name = bad;
  node.gpus[0].slices[0].use->pod = bad;
  node.gpus[0].use->pods[0].pod = bad;
  node.resources[0].last_error = bad;
  node.config.last_error = bad;
  node.events.push_back({kNow, metrics::EventLevel::kError, bad});
  node.problems.push_back({metrics::Severity::kDegraded, bad, bad, bad});
  return node;
}

struct Named {
  std::string_view name;
  metrics::NodeStatus (*make)();
  friend std::ostream& operator<<(std::ostream& out, const Named& named) {
    return out << named.name;
  }
};
inline const std::vector<Named>& all() {
  static const std::vector<Named> kAll = {{"healthy", healthy},
                                          {"unhealthy", one_unhealthy},
                                          {"no-driver", no_driver},
                                          {"large", large},
                                          {"mig", mig},
                                          {"hostile", hostile}};
  return kAll;
}

}  // namespace kerf::samples
