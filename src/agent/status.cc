#include "agent/status.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace kerf::agent {
namespace {

metrics::DriverState state_of(inventory::DriverState state) {
  switch (state) {
    case inventory::DriverState::kAbsent:
      return metrics::DriverState::kAbsent;
    case inventory::DriverState::kReady:
      return metrics::DriverState::kReady;
    case inventory::DriverState::kFailed:
      return metrics::DriverState::kFailed;
    case inventory::DriverState::kStuck:
      return metrics::DriverState::kStuck;
  }
  return metrics::DriverState::kFailed;
}

metrics::HealthStatus health_of(const std::optional<inventory::Unhealthy>& unhealthy) {
  if (!unhealthy) return {};
  return {false, unhealthy->reason, unhealthy->detail, unhealthy->since_ms};
}

metrics::GpuStatus gpu_status(const inventory::Gpu& gpu) {
  metrics::GpuStatus out;
  out.index = gpu.index;
  out.uuid = gpu.uuid;
  out.name = gpu.name;
  out.pci = gpu.pci_bus_id;
  out.numa_node = gpu.numa_node;
  if (gpu.memory_bytes) out.memory_mib = *gpu.memory_bytes >> 20;
  out.health = health_of(gpu.unhealthy);
  for (const inventory::MigDevice& mig : gpu.mig_devices) {
    out.mig_devices.push_back({mig.uuid, mig.profile, mig.memory_mib, health_of(mig.unhealthy)});
  }
  return out;
}

metrics::SliceStatus slice_status(const plan::Resource& resource, const plan::Device& device,
                                  const Ledger& ledger) {
  metrics::SliceStatus slice;
  slice.id = device.id;
  slice.resource = resource.name;
  if (device.mig) slice.mig = device.physical_id;
  slice.healthy = device.healthy;
  if (const Use* use = ledger.find(device.id)) {
    metrics::SliceUse& held = slice.use.emplace();
    held.since_ms = use->since_ms;
    std::vector<std::string> owner = split(use->owner, '/');
    if (use->source == Source::kPodResources && owner.size() == 3) {
      held.source = metrics::UseSource::kPodResources;
      held.pod_namespace = owner[0];
      held.pod = owner[1];
      held.container = owner[2];
    }
  }
  return slice;
}

unsigned replicas_of(const plan::Resource& resource) {
  unsigned replicas = 1;
  for (const plan::Device& device : resource.devices) {
    if (device.replica) replicas = std::max(replicas, *device.replica + 1);
  }
  return replicas;
}

}  // namespace

std::string cuda_text(int version) {
  if (version <= 0) return {};
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

void describe(const inventory::Snapshot& snapshot, const plan::Plan& plan, const Ledger& ledger,
              metrics::NodeStatus& into) {
  into.driver = {state_of(snapshot.driver.state), snapshot.driver.version,
                 cuda_text(snapshot.driver.cuda_version), snapshot.driver.library,
                 snapshot.driver.detail};
  into.gpus.clear();
  std::map<std::string, std::size_t> by_uuid;
  for (const inventory::Gpu& gpu : snapshot.gpus) {
    by_uuid[gpu.uuid] = into.gpus.size();
    into.gpus.push_back(gpu_status(gpu));
  }
  into.resources.clear();
  for (const plan::Resource& resource : plan.resources) {
    metrics::ResourceStatus& out = into.resources.emplace_back();
    out.name = resource.name;
    out.sharing = !resource.mps.empty() ? "mps" : resource.shared ? "time-slicing" : "none";
    out.replicas = replicas_of(resource);
    for (const plan::Device& device : resource.devices) {
      metrics::SliceStatus slice = slice_status(resource, device, ledger);
      ++out.total;
      if (slice.healthy) ++out.healthy;
      if (slice.use) ++out.in_use;
      auto gpu = by_uuid.find(plan.snapshot->gpus[device.gpu].uuid);
      if (gpu != by_uuid.end()) into.gpus[gpu->second].slices.push_back(std::move(slice));
    }
  }
}

}  // namespace kerf::agent
