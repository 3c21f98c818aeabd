// DCGM_EXP_GPU_HEALTH_STATUS from what NVML tells: pass (0), warn (10) or fail (20) for each of
// DCGM's watches. Pure. DCGM's own checks see more: what NVML does not show passes here.
// Source: metrics contract §1.4.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "exporter/types.h"

namespace kerf::exporter {

// Absent: not known.
struct HealthFacts {
  std::optional<std::uint64_t> clock_reasons;      // bits of nvml::abi::ClockReason
  std::optional<std::uint64_t> double_bit_errors;  // since the driver was loaded
  std::optional<bool> remap_failed;
  std::optional<bool> remap_pending;
  std::optional<bool> retirement_pending;
  std::optional<std::uint64_t> pcie_replays;
  std::optional<std::uint64_t> nvlink_errors;  // of all kinds and links
  bool power_unreadable = false;               // there is a reading, and it failed
  bool inforom_corrupt = false;
};

// `minutes` since `before`, for rates; without `before` rates pass.
std::vector<Reading::Extra> health_samples(std::size_t counter, const HealthFacts& now,
                                           const HealthFacts* before, double minutes);

}  // namespace kerf::exporter
