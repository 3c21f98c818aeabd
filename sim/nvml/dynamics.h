// What changes by itself: load, power, temperature, clocks, energy, and the effect of the faults
// that are in force. Everything is a function of the shared state and the time, so all processes
// read the same numbers without anybody computing in the background.
#pragma once

#include <cstdint>

#include "shared.h"

namespace nvmlsim {

// The faults in force on one GPU at one moment, without those that concern single calls.
struct Effects {
  bool lost = false, vanished = false;
  bool driver_absent = false;
  uint32_t driver_absent_code = 999;
  bool has_temperature = false;
  uint32_t temperature = 0;
  uint64_t throttle = 0;
  bool drifted = false;
  uint32_t drifted_mw = 0;
  uint32_t enforced_mw = 0;
  bool setter_refuses = false;
  uint32_t setter_code = 0;
  uint64_t links_down = 0;
  bool has_fabric = false;
  uint32_t fabric_state = 0, fabric_status = 0;
  uint32_t process_growth = 0;
  uint32_t mig_busy = 0;
};

bool in_force(const Fault& fault, uint64_t now);
// `gpu` kNone asks for what concerns the machine.
Effects effects_on(const Shared& shared, uint32_t gpu, uint64_t now);
// Earliest start or end of a fault after `now`, 0 if there is none.
uint64_t next_transition(const Shared& shared, uint64_t now);

struct Reading {
  uint32_t load_pct, memory_pct;
  uint32_t power_mw, power_mean_mw;
  uint32_t limit_mw, enforced_mw;
  uint32_t temperature, memory_temperature;
  uint32_t sm_mhz, memory_mhz, video_mhz;
  uint32_t pstate;
  uint64_t reasons;
  uint64_t energy_mj;
  uint64_t violation_ns[4];
};

Reading reading(const GpuSpec& spec, const GpuLive& live, const Effects& effects, uint64_t now);

// Writers call fold() first (carries counters up to now) and settle() last (sums, clean-up).
void fold(Shared& shared, uint64_t now);
void settle(Shared& shared, uint64_t now);
// One GPU as after a reload of its driver: limits, counters and persistence by default.
void reset_gpu(Shared& shared, uint32_t gpu);

}  // namespace nvmlsim
