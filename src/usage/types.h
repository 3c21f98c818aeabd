// What a GPU reported at one moment, and what became of it: who used how much. Plain values; knows
// nothing of NVML, the kubelet or Prometheus.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pods/types.h"

namespace kerf::usage {

// A process on a GPU.
struct ProcessFigures {
  std::uint32_t pid = 0;
  std::optional<pods::Owner> owner;           // absent: on the host, or nobody knows whose
  std::optional<std::uint64_t> bytes;         // of device memory
  std::optional<std::uint32_t> gpu_instance;  // when on a MIG device
  std::optional<std::uint32_t> compute_instance;
  std::optional<double> sm_percent;  // of the time since the reading before
  bool ended = false;                // it was busy since the reading before, and is no more
};

// One GPU at one moment. What the driver did not tell is absent.
struct GpuFigures {
  std::string uuid;
  std::int64_t mono_ms = 0;  // when; never goes back
  std::int64_t wall_ms = 0;
  std::optional<double> busy_percent;  // of the time; absent with MIG
  std::optional<std::uint32_t> power_mw;
  std::optional<std::uint64_t> energy_mj;  // since the driver was loaded
  std::optional<std::uint32_t> temperature_c;
  std::optional<std::uint64_t> memory_used;   // bytes, without what the driver keeps for itself
  std::optional<std::uint64_t> memory_total;  // bytes
  bool processes_known = false;               // the driver listed them
  // Of those that run: how many are not to be found on the host, and how many are in pods of which
  // nobody knows the name or the container.
  unsigned unseen = 0;
  unsigned unnamed = 0;
  std::vector<ProcessFigures> processes;
};

// A container's part of a device: `shares` of `of` equal shares.
struct Holding {
  pods::Owner owner;
  std::string uid;   // of the pod; empty when unknown
  std::string uuid;  // "GPU-…" or "MIG-…"
  unsigned shares = 1;
  unsigned of = 1;
  std::optional<std::uint64_t> quota_bytes;  // declared by the pod; wins over the shares
};

// A device that can be held: a GPU, or a MIG device of one.
struct Device {
  std::string uuid;
  std::optional<std::uint64_t> memory_bytes;  // absent on unified-memory parts
  std::optional<unsigned> gpu_instance;       // of a MIG device
  std::optional<unsigned> compute_instance;
  unsigned slices = 0;  // of a MIG device: compute slices
};

// A GPU as the plan knows it: itself, or its MIG devices.
struct Layout {
  std::string uuid;             // the physical GPU
  std::vector<Device> devices;  // itself alone, or its MIG devices
  bool mig = false;
  unsigned slices = 0;            // compute slices that the GPU can be cut into; 0 without MIG
  std::vector<Holding> holdings;  // of its devices
};

// What one container uses of one device. Counters never go down while it is known.
struct Use {
  std::string uid;      // of the pod that used it last; empty when unknown
  unsigned shares = 0;  // held now; 0: holds nothing, uses it all the same
  unsigned of = 0;
  unsigned processes = 0;
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> limit_bytes;  // its fair share, or its quota
  bool has_quota = false;
  std::optional<double> busy_ratio;  // of the GPU's time, 0 to 1
  std::optional<double> power_w;     // on average since the reading before
  double energy_j = 0;               // counter
  double busy_seconds = 0;           // counter: GPU time
  double held_seconds = 0;           // counter: GPU time set aside, shares ÷ of
  std::int64_t last_ms = 0;          // monotonic: when it last held or used
};

// A GPU's own figures, and what of them belongs to no container.
struct GpuUse {
  std::int64_t mono_ms = 0;
  std::int64_t wall_ms = 0;
  std::optional<double> busy_ratio;
  std::optional<double> power_w;
  std::optional<std::uint32_t> temperature_c;
  std::optional<std::uint64_t> memory_used;
  std::optional<std::uint64_t> memory_total;
  std::uint64_t memory_host = 0;   // of processes outside of pods, or in pods nobody knows
  std::uint64_t memory_other = 0;  // of no process: contexts, fragmentation, processes out of sight
  double busy_host_ratio = 0;
  double seconds = 0;        // counters, from here on: time observed
  double idle_seconds = 0;   // of it, in which nobody worked
  double other_seconds = 0;  // of it, worked by the host, or by nobody knows whom
  double energy_j = 0;
  double idle_j = 0;
  double other_j = 0;
  double floor_w = 0;  // the least power seen, which an idle GPU draws
  // On average since the reading before, where known; containers have their `power_w` of it.
  std::optional<double> mean_w;
  // The newest reading has all processes that run, and says whose each is.
  bool processes_known = false;
  unsigned untold_rounds = 0;  // readings in a row in which that was not so
};

// A container and a device.
struct Key {
  pods::Owner owner;
  std::string uuid;
  auto operator<=>(const Key&) const = default;
};

}  // namespace kerf::usage
