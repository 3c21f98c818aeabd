// What exists on a node: the value every other room reads. Knows nothing of NVML or of how it was
// found; `inventory/builder.h` fills it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kerf::inventory {

// Why a GPU or MIG device must not be given to new containers.
struct Unhealthy {
  // Machine word: "xid", "gpu_lost", "nvml_stuck", "query_failed", "driver_failed", "ecc".
  std::string reason;
  std::string detail;         // for people: "Xid 79 on GPU-…: GPU has fallen off the bus"
  std::int64_t since_ms = 0;  // wall clock, milliseconds since the epoch

  bool operator==(const Unhealthy&) const = default;
};

// The engines that a MIG device has a share of. Source: nvmlDeviceGetAttributes_v2.
struct MigEngines {
  unsigned copy = 0;
  unsigned decoder = 0;
  unsigned encoder = 0;
  unsigned jpeg = 0;
  unsigned ofa = 0;

  bool operator==(const MigEngines&) const = default;
};

// A MIG device: one compute instance in a GPU instance. Source: NVML MIG queries.
struct MigDevice {
  std::string uuid;    // "MIG-…"
  unsigned index = 0;  // position on its GPU (nvmlDeviceGetMigDeviceHandleByIndex)
  unsigned gpu_instance = 0;
  unsigned compute_instance = 0;
  std::string profile;  // "1g.10gb", see device-plugin contract, profile naming
  std::uint64_t memory_mib = 0;
  unsigned gpu_slices = 0;
  unsigned compute_slices = 0;
  unsigned multiprocessors = 0;
  MigEngines engines;
  std::optional<unsigned> gpu_instance_minor;  // /dev/nvidia-caps/nvidia-cap<n>
  std::optional<unsigned> compute_instance_minor;
  std::optional<Unhealthy> unhealthy;  // its own or its GPU's; the GPU's need not be asked as well

  bool operator==(const MigDevice&) const = default;
};

// The NVLink fabric that a GPU has joined: GPUs with the same cluster and clique reach each other's
// memory, also across nodes. Source: nvmlDeviceGetGpuFabricInfo.
struct Fabric {
  std::string cluster_uuid;  // "b2a3c7e1-…", 8-4-4-4-12 hexadecimal digits in lower case
  std::uint32_t clique = 0;

  bool operator==(const Fabric&) const = default;
};

// A physical GPU as the driver sees it.
struct Gpu {
  unsigned index = 0;                         // NVML index
  std::string uuid;                           // "GPU-…"
  std::string name;                           // "NVIDIA GeForce RTX 3090"
  unsigned minor = 0;                         // /dev/nvidia<minor>
  std::string pci_bus_id;                     // sysfs spelling: "0000:3b:00.0", lower case
  std::uint32_t pci_device = 0;               // device<<16 | vendor
  std::optional<int> numa_node;               // from sysfs; absent when unknown or negative
  std::optional<std::uint64_t> memory_bytes;  // absent on unified-memory parts (GB10)
  int compute_major = 0;
  int compute_minor = 0;
  std::string architecture;  // "ampere", "hopper", … or "unknown"
  bool mig_capable = false;
  bool mig_enabled = false;
  std::vector<MigDevice> mig_devices;
  std::optional<Fabric> fabric;  // once joined: registration completed without error
  std::optional<Unhealthy>
      unhealthy;  // of the GPU as a whole; trouble of one MIG device is not here

  bool operator==(const Gpu&) const = default;
};

// How two GPUs reach each other. Scores are the contract's: PCIe 10…60, plus 100 per NVLink.
struct Link {
  unsigned from = 0;  // positions in Snapshot::gpus, from < to
  unsigned to = 0;
  int pcie_score = 0;    // 0 when unknown
  unsigned nvlinks = 0;  // 0…18
  // NVLinks of each to switches, the smaller number: 0…18. A switch joins all GPUs whose links to
  // it are up, so that where all are, every pair has the same.
  unsigned switched = 0;
  int score() const { return pcie_score + 100 * static_cast<int>(nvlinks + switched); }

  bool operator==(const Link&) const = default;
};

enum class DriverState {
  kAbsent,  // no library or no driver: nothing to advertise
  kReady,   // answering
  kFailed,  // initialised once, now failing as a whole
  kStuck,   // a call is past its deadline; data below is the last known
};

struct Driver {
  DriverState state = DriverState::kAbsent;
  std::string version;   // "580.126.09"
  int cuda_version = 0;  // 1000·major + 10·minor
  std::string library;   // path of the loaded libnvidia-ml
  std::string detail;    // why, when not ready
  // How often it was started in the life of this process. Another number is another load of it or
  // at least another session: what was set before may be gone.
  std::uint64_t starts = 0;

  bool operator==(const Driver&) const = default;
};

// An immutable, numbered picture of the node. Readers share it; only the agent replaces it.
struct Snapshot {
  std::uint64_t generation = 0;
  Driver driver;
  std::vector<Gpu> gpus;    // ordered by NVML index; a GPU whose queries failed stays, unhealthy
  std::vector<Link> links;  // every pair once; empty until read

  bool operator==(const Snapshot&) const = default;
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace kerf::inventory
