// What changes a GPU: limits, persistence, clocks. As in session.h every method may block for as
// long as the driver likes and belongs on a lane. All need root and CAP_SYS_ADMIN; without them the
// driver answers kDenied. What each call means: NVML API reference.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "nvml/abi.h"
#include "nvml/session.h"

namespace kerf::nvml {

// Thread-safe as NVML is. Keeps the session alive. Errors are without a subject: the caller knows
// the GPU's name.
class Control {
 public:
  explicit Control(std::shared_ptr<const Session> session) : session_(std::move(session)) {}

  // Milliwatts. kInvalid outside what the board takes, kUnsupported where it has no such limit. In
  // force at once; lost with the driver, a reset, or the last client without persistence mode.
  Status set_power_limit(abi::Device gpu, std::uint32_t milliwatts) const;
  // Keeps the driver's state, limits among it, while nobody uses the GPU.
  Status set_persistence(abi::Device gpu, bool on) const;

  enum class Clock { kGraphics, kMemory };
  // MHz. Held between these until unlocked; NVML cannot be asked whether a lock is in force.
  Status lock_clock(abi::Device gpu, Clock which, std::uint32_t min_mhz,
                    std::uint32_t max_mhz) const;
  Status unlock_clock(abi::Device gpu, Clock which) const;

 private:
  std::shared_ptr<const Session> session_;
};

}  // namespace kerf::nvml
