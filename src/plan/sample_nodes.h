// Nodes written by hand in a line or two, for tests, benches and fuzz targets of the pure rooms.
// Not for the product: nothing outside those includes it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/types.h"
#include "inventory/types.h"
#include "plan/plan.h"

namespace kerf::plan::sample {

// "GPU-00000000-0000-0000-0000-000000000003", or "MIG-…".
inline std::string uuid(unsigned number, std::string_view kind = "GPU") {
  std::string digits = std::to_string(number);
  return std::string(kind) + "-00000000-0000-0000-0000-" + std::string(12 - digits.size(), '0') +
         digits;
}

inline inventory::Gpu gpu(unsigned index, std::string name = "NVIDIA GeForce RTX 3090") {
  inventory::Gpu gpu;
  gpu.index = index;
  gpu.uuid = uuid(index);
  gpu.name = std::move(name);
  gpu.minor = index;
  return gpu;
}

inline inventory::MigDevice mig(unsigned gpu_index, unsigned index, std::string profile,
                                unsigned gpu_slices = 1, unsigned compute_slices = 1) {
  inventory::MigDevice mig;
  mig.uuid = uuid(100 * (gpu_index + 1) + index, "MIG");
  mig.index = index;
  mig.gpu_instance = index + 7;
  mig.profile = std::move(profile);
  mig.gpu_slices = gpu_slices;
  mig.compute_slices = compute_slices;
  mig.gpu_instance_minor = 10 * (gpu_index + 1) + 2 * index;
  mig.compute_instance_minor = 10 * (gpu_index + 1) + 2 * index + 1;
  return mig;
}

// A GPU in MIG mode with one MIG device for each profile, all with as many compute as GPU slices.
inline inventory::Gpu mig_gpu(unsigned index, const std::vector<std::string>& profiles) {
  inventory::Gpu gpu = sample::gpu(index, "NVIDIA A100-SXM4-80GB");
  gpu.mig_capable = gpu.mig_enabled = true;
  for (unsigned i = 0; i < profiles.size(); ++i) {
    gpu.mig_devices.push_back(mig(index, i, profiles[i]));
  }
  return gpu;
}

inline inventory::SnapshotPtr node(std::vector<inventory::Gpu> gpus,
                                   std::vector<inventory::Link> links = {}) {
  inventory::Snapshot snapshot;
  snapshot.driver.state = inventory::DriverState::kReady;
  snapshot.gpus = std::move(gpus);
  snapshot.links = std::move(links);
  return std::make_shared<const inventory::Snapshot>(std::move(snapshot));
}

// `count` GPUs alike.
inline inventory::SnapshotPtr gpus(unsigned count) {
  std::vector<inventory::Gpu> list;
  for (unsigned i = 0; i < count; ++i) list.push_back(gpu(i));
  return node(std::move(list));
}

// Time-slicing of one resource; fewer than 2 replicas: no sharing.
inline config::Config shared(unsigned replicas, std::string resource = "nvidia.com/gpu") {
  config::Config config;
  if (replicas < 2) return config;
  config.sharing_strategy = config::SharingStrategy::kTimeSlicing;
  config::SharedResource entry;
  entry.name = std::move(resource);
  entry.replicas = replicas;
  config.sharing.resources.push_back(std::move(entry));
  return config;
}

// The plan; aborts where make_plan refuses.
inline PlanPtr plan(inventory::SnapshotPtr snapshot, const config::Config& config = {}) {
  return std::make_shared<const Plan>(make_plan(std::move(snapshot), config, 1).value());
}

inline std::vector<std::string> ids(const Resource& resource) {
  std::vector<std::string> ids;
  for (const Device& device : resource.devices) ids.push_back(device.id);
  return ids;
}

}  // namespace kerf::plan::sample
