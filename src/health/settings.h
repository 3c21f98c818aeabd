// How health is judged: what each XID does, which conditions are looked at, when a GPU is trusted
// again. Values; where they come from is the configuration's business.
#pragma once

#include <cstdint>
#include <limits>

#include "health/xid_policy.h"

namespace kerf::health {

// Milliseconds that never pass.
inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

struct Settings {
  XidPolicy policy;

  // How long the cause must not have been seen before a GPU is healthy again; doubled each time the
  // GPU fails again soon after it recovered, up to the greatest. kNever: only by a reset.
  std::int64_t quiet_ms = 5 * 60'000;
  std::int64_t max_quiet_ms = 60 * 60'000;  // also how long a recovery counts as recent

  // Conditions that the driver has no event for, or not on every GPU. Nothing of it is watched when
  // the policy watches nothing.
  bool ecc = true;                   // an uncorrectable memory error
  bool row_remap_failure = true;     // bad memory that could not be replaced
  bool row_remap_pending = true;     // bad memory that is replaced at the next reset
  bool nvlink = true;                // a link that was up is down
  bool thermal = true;               // the hardware slows the GPU down, or it is at its limit
  std::int64_t poll_ms = 30'000;     // between looks at them
  std::int64_t thermal_ms = 60'000;  // how long a slowdown lasts before it counts

  bool polls() const {
    return policy.watches() && (ecc || row_remap_failure || row_remap_pending || nvlink || thermal);
  }
};

}  // namespace kerf::health
