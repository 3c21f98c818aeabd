// Which daemons a plan asks for, and what each is told: pure. Source: device-plugin contract §10.2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/types.h"

namespace kerf::mps {

// One control daemon of NVIDIA's, as it should be running.
struct Wanted {
  std::string resource;           // "nvidia.com/gpu"
  std::vector<std::string> gpus;  // UUIDs, by NVML index
  // The daemon is to see these GPUs alone, so that they are its devices 0, 1, …: where others of
  // the node are not its business, or where models differ and CUDA would number them otherwise than
  // NVML. Else it sees all, under their NVML index.
  bool narrowed = false;
  std::vector<std::string> commands;  // in order, each without a newline

  bool operator==(const Wanted&) const = default;
};

// Memory for one of `replicas` clients, in MiB, rounded down.
std::uint64_t memory_share_mib(std::uint64_t total_bytes, unsigned replicas);
// Percentage of threads for one client: ⌊100 / ⌊devices / gpus⌋⌋. 100 where either is 0.
unsigned thread_share(std::size_t devices, std::size_t gpus);

// One for each resource that is shared by MPS, in the plan's order.
std::vector<Wanted> wanted_daemons(const plan::Plan& plan);

// The daemon's whole environment, as NAME=value.
std::vector<std::string> daemon_environment(const Wanted& wanted, const std::string& pipe,
                                            const std::string& log);

}  // namespace kerf::mps
