// The `health` section of the file as values: what makes a GPU unhealthy, and when it is trusted
// again. A section of kerf's own; NVIDIA's plugin does not know it and ignores it.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

namespace kerf::config {

// What an XID does to the GPU, see health/xid_policy.h.
enum class XidAction { kIgnore, kUnhealthy, kUnhealthyUntilReset, kDrain };

// The keys below health.xids.
inline constexpr std::pair<std::string_view, XidAction> kXidActions[] = {
    {"ignore", XidAction::kIgnore},
    {"unhealthy", XidAction::kUnhealthy},
    {"unhealthyUntilReset", XidAction::kUnhealthyUntilReset},
    {"drain", XidAction::kDrain},
};

// Durations in nanoseconds; kForever (duration.h) where it says so.
struct HealthOptions {
  std::map<std::uint64_t, XidAction> xids;               // those that the file names
  std::int64_t quiet_period_ns = 300'000'000'000;        // kForever: never healthy without a reset
  std::int64_t max_quiet_period_ns = 3'600'000'000'000;  // kForever: no bound
  bool ecc = true;
  bool row_remap_failure = true;
  bool row_remap_pending = true;
  bool nvlink = true;
  bool thermal = true;
  std::int64_t thermal_after_ns = 60'000'000'000;
  std::int64_t poll_interval_ns = 30'000'000'000;
  bool operator==(const HealthOptions&) const = default;
};

}  // namespace kerf::config
