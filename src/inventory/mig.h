// How a MIG device's profile is called: "1g.10gb", "1c.3g.20gb", "1g.10gb+me". Pure arithmetic; the
// rule is the device plugin's, see "Possible profiles" in NVIDIA's MIG user guide for the names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace kerf::inventory {

struct MigShape {
  unsigned compute_slices = 0;
  unsigned gpu_slices = 0;
  std::uint64_t memory_mib = 0;     // of the MIG device
  std::optional<unsigned> profile;  // nvml abi::GpuInstanceProfile; absent when not told
};

// `gpu_memory_bytes` is the whole GPU's memory. The gigabytes in the name are the device's share of
// it, rounded up to an eighth; without the whole they are the device's own memory, rounded up.
std::string mig_profile_name(const MigShape& shape, std::optional<std::uint64_t> gpu_memory_bytes);

}  // namespace kerf::inventory
