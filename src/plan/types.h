// What is to be advertised: resources and their devices. Pure values; `plan/plan.h` computes them
// from an inventory and a configuration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/types.h"
#include "inventory/types.h"

namespace kerf::plan {

// One id the kubelet sees. Several devices with the same `physical_id` are replicas of one GPU or
// MIG device.
struct Device {
  std::string id;                   // "GPU-…", "MIG-…", or "<physical_id>::<n>" when shared
  std::string physical_id;          // id without "::n"
  std::string index;                // "0", or "0:1" for MIG device 1 of GPU 0
  unsigned gpu = 0;                 // position in Snapshot::gpus
  std::optional<unsigned> mig;      // position in Gpu::mig_devices
  std::optional<unsigned> replica;  // n, when shared
  std::optional<int> numa_node;
  bool healthy = true;
  std::string unhealthy_reason;  // for people, empty when healthy

  bool operator==(const Device&) const = default;
};

// A GPU of a resource that is shared by MPS.
struct MpsGpu {
  unsigned gpu = 0;       // position in Snapshot::gpus
  std::size_t entry = 0;  // position in Config::sharing.resources: what its clients may use

  bool operator==(const MpsGpu&) const = default;
};

// One extended resource: one plugin socket, one registration.
struct Resource {
  std::string name;     // "nvidia.com/gpu"
  bool shared = false;  // devices are replicas
  bool fail_requests_greater_than_one = false;
  std::vector<Device> devices;  // ordered by GPU index, MIG index, replica; stable across calls
  std::vector<MpsGpu> mps;      // shared by MPS: its GPUs, by index; otherwise empty

  bool operator==(const Resource&) const = default;
};

// Everything one generation advertises, with what Allocate needs to answer. Immutable once built.
struct Plan {
  std::uint64_t generation = 0;
  std::vector<Resource> resources;    // ordered by name; those without devices are left out
  std::vector<std::string> warnings;  // for the log and the page, each a whole sentence
  config::Config config;
  inventory::SnapshotPtr snapshot;  // never null
};

using PlanPtr = std::shared_ptr<const Plan>;

}  // namespace kerf::plan
