#include "dynamics.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nvmlsim {
namespace {

constexpr double kThermalSeconds = 20;

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// -1..1, constant for a sixth of a second as NVML's own sampling.
double noise(uint64_t seed, uint64_t now, uint64_t salt) {
  const uint64_t bucket = now / 166666667ULL;
  return static_cast<double>(mix(seed ^ mix(bucket ^ salt)) % 2001U) / 1000.0 - 1.0;
}

uint32_t demanded_load(const GpuLive& live) {
  return std::min(100U, live.load_pct + live.process_sm_pct);
}

// What the board would draw without a limit, mW.
double demand_mw(const GpuSpec& spec, uint32_t load) {
  const double idle = spec.power_idle_mw;
  const double full = spec.power_limits ? spec.power_default_mw : idle + 60000.0;
  return idle + (full - idle) * load / 100.0;
}

uint32_t requested_limit(const GpuSpec& spec, const GpuLive& live, const Effects& fx) {
  if (!fx.drifted) return live.power_limit_mw;
  return fx.drifted_mw ? fx.drifted_mw : spec.power_default_mw;
}

uint32_t enforced_limit(uint32_t requested, const Effects& fx) {
  return fx.enforced_mw ? std::min(requested, fx.enforced_mw) : requested;
}

double seconds(const GpuLive& live, uint64_t now) {
  return now > live.since_ns ? static_cast<double>(now - live.since_ns) / 1e9 : 0;
}

double smooth_temperature(const GpuSpec& spec, const GpuLive& live, double target, uint64_t now) {
  (void)spec;
  return target + (live.temp_c - target) * std::exp(-seconds(live, now) / kThermalSeconds);
}

void lower_clocks(const GpuSpec& spec, double capped, Reading& r) {
  double factor = capped < 1 ? std::cbrt(capped) : 1;
  if (r.reasons & (0x20U | 0x40U | 0x8U | 0x80U)) factor *= 0.5;
  r.sm_mhz = std::max(spec.clock_sm_idle, static_cast<uint32_t>(r.sm_mhz * factor));
}

void fill_clocks(const GpuSpec& spec, const GpuLive& live, double capped, Reading& r) {
  const bool busy = r.load_pct > 0;
  r.sm_mhz = busy ? spec.clock_sm_max - spec.clock_sm_max / 20 : spec.clock_sm_idle;
  r.memory_mhz = busy ? spec.clock_mem_max : spec.clock_mem_idle;
  r.video_mhz = busy ? spec.clock_video_max : std::min(spec.clock_video_max, 540U);
  if (live.locked_sm_max) {
    r.sm_mhz = std::clamp(r.sm_mhz, live.locked_sm_min, live.locked_sm_max);
    r.reasons |= 0x2U;
  }
  if (live.locked_mem_max)
    r.memory_mhz = std::clamp(r.memory_mhz, live.locked_mem_min, live.locked_mem_max);
  if (busy) lower_clocks(spec, capped, r);
  r.pstate = busy ? (spec.brand == 5 ? 2 : 0) : 8;
}

void fill_temperature(const GpuSpec& spec, const GpuLive& live, const Effects& fx, uint64_t now,
                      Reading& r) {
  const double load = r.load_pct / 100.0;
  const double target =
      spec.temp_idle + (spec.temp_load - static_cast<double>(spec.temp_idle)) * load;
  const double value = smooth_temperature(spec, live, target, now) + 0.7 * noise(spec.seed, now, 3);
  r.temperature = static_cast<uint32_t>(std::max(0.0, value + 0.5));
  if (fx.has_temperature) r.temperature = fx.temperature;
  r.memory_temperature = r.temperature + (r.load_pct > 0 ? 9 : 3);
  if (spec.temp_slowdown && r.temperature >= spec.temp_slowdown) r.reasons |= 0x20U | 0x40U | 0x8U;
}

}  // namespace

bool in_force(const Fault& fault, uint64_t now) {
  return fault.used && now >= fault.start_ns && (fault.end_ns == 0 || now < fault.end_ns);
}

static void apply(const Fault& fault, Effects& fx) {
  switch (fault.kind) {
    case FaultKind::kLost:
      fx.lost = true;
      fx.vanished = fx.vanished || fault.value == 1;
      break;
    case FaultKind::kDriverAbsent:
      fx.driver_absent = true;
      fx.driver_absent_code = static_cast<uint32_t>(fault.value);
      break;
    case FaultKind::kTemperature:
      fx.has_temperature = true;
      fx.temperature = static_cast<uint32_t>(fault.value);
      break;
    case FaultKind::kThrottle:
      fx.throttle |= fault.mask;
      break;
    case FaultKind::kLimitDrift:
      fx.drifted = true;
      fx.drifted_mw = static_cast<uint32_t>(fault.value);
      break;
    case FaultKind::kEnforced:
      fx.enforced_mw = static_cast<uint32_t>(fault.value);
      break;
    case FaultKind::kSetterRefusal:
      fx.setter_refuses = true;
      fx.setter_code = static_cast<uint32_t>(fault.value);
      break;
    case FaultKind::kLinkDown:
      fx.links_down |= fault.mask;
      break;
    case FaultKind::kFabricState:
      fx.has_fabric = true;
      fx.fabric_state = static_cast<uint32_t>(fault.value);
      fx.fabric_status = static_cast<uint32_t>(fault.extra);
      break;
    case FaultKind::kProcessGrowth:
      fx.process_growth = static_cast<uint32_t>(fault.value);
      break;
    case FaultKind::kMigBusy:
      fx.mig_busy = static_cast<uint32_t>(fault.value);
      break;
    default:
      break;
  }
}

Effects effects_on(const Shared& shared, uint32_t gpu, uint64_t now) {
  Effects fx;
  if (shared.fault_count == 0) return fx;
  for (const Fault& fault : shared.faults)
    if (in_force(fault, now) && (fault.gpu == kNone || fault.gpu == gpu)) apply(fault, fx);
  return fx;
}

uint64_t next_transition(const Shared& shared, uint64_t now) {
  uint64_t next = 0;
  if (shared.fault_count == 0) return 0;
  for (const Fault& fault : shared.faults) {
    if (!fault.used) continue;
    for (const uint64_t t : {fault.start_ns, fault.end_ns})
      if (t > now && (next == 0 || t < next)) next = t;
  }
  return next;
}

Reading reading(const GpuSpec& spec, const GpuLive& live, const Effects& fx, uint64_t now) {
  Reading r{};
  const uint32_t load = demanded_load(live);
  r.load_pct = load;
  if (load > 0 && load < 100)
    r.load_pct =
        static_cast<uint32_t>(std::clamp(load + 3.0 * noise(spec.seed, now, 1), 1.0, 100.0));
  r.memory_pct = spec.memory_info ? r.load_pct * 2 / 5 : 0;
  r.reasons = fx.throttle;
  if (load == 0) r.reasons |= 0x1U;
  const double demand = demand_mw(spec, load);
  double mean = demand, capped = 1;
  if (spec.power_limits) {
    r.limit_mw = requested_limit(spec, live, fx);
    r.enforced_mw = enforced_limit(r.limit_mw, fx);
    if (demand > r.enforced_mw) {
      capped = r.enforced_mw / demand;
      mean = r.enforced_mw;
      r.reasons |= 0x4U;
    }
  }
  r.power_mean_mw = static_cast<uint32_t>(mean);
  double power = mean * (1 + 0.01 * noise(spec.seed, now, 2));
  if (spec.power_limits) power = std::min(power, static_cast<double>(r.enforced_mw));
  r.power_mw = static_cast<uint32_t>(power);
  fill_temperature(spec, live, fx, now, r);
  fill_clocks(spec, live, capped, r);
  const double s = seconds(live, now);
  r.energy_mj = live.energy_mj + static_cast<uint64_t>(mean * s);
  const uint64_t masks[4] = {0x4, 0x20 | 0x40, 0, 0x80};
  for (int i = 0; i < 4; ++i)
    r.violation_ns[i] =
        live.violation_ns[i] + (r.reasons & masks[i] ? static_cast<uint64_t>(s * 1e9) : 0);
  return r;
}

void fold(Shared& shared, uint64_t now) {
  const uint32_t count = std::min(shared.machine.gpu_count, kMaxGpus);
  for (uint32_t i = 0; i < count; ++i) {
    const GpuSpec& spec = shared.machine.gpus[i];
    GpuLive& live = shared.live[i];
    const Effects fx = effects_on(shared, i, now);
    const Reading r = reading(spec, live, fx, now);
    const double target = spec.temp_idle + (spec.temp_load - static_cast<double>(spec.temp_idle)) *
                                               demanded_load(live) / 100.0;
    live.temp_c = smooth_temperature(spec, live, target, now);
    live.energy_mj = r.energy_mj;
    for (int k = 0; k < 4; ++k) live.violation_ns[k] = r.violation_ns[k];
    live.since_ns = now;
  }
}

void settle(Shared& shared, uint64_t now) {
  const uint32_t count = std::min(shared.machine.gpu_count, kMaxGpus);
  for (uint32_t i = 0; i < count; ++i)
    shared.live[i].process_sm_pct = shared.live[i].process_memory_mib = 0;
  for (const Process& p : shared.processes) {
    if (!p.used || p.gpu >= count) continue;
    shared.live[p.gpu].process_sm_pct += p.sm_pct;
    shared.live[p.gpu].process_memory_mib += p.memory_mib;
  }
  uint32_t faults = 0;
  for (Fault& fault : shared.faults) {
    if (fault.used && fault.end_ns != 0 && fault.end_ns <= now) fault.used = 0;
    if (fault.used) ++faults;
  }
  __atomic_store_n(&shared.fault_count, faults, __ATOMIC_RELEASE);
}

void reset_gpu(Shared& shared, uint32_t gpu) {
  const GpuSpec& spec = shared.machine.gpus[gpu];
  GpuLive& live = shared.live[gpu];
  const GpuLive old = live;
  std::memset(&live, 0, sizeof(live));
  live.generation = old.generation;
  live.minor = old.minor;
  live.instance_counter = old.instance_counter;
  live.power_limit_mw = spec.power_default_mw;
  live.persistence = spec.persistence;
  live.mig_mode = live.mig_pending = spec.mig_enabled;
  live.ecc_mode = live.ecc_pending = spec.ecc;
  live.load_pct = spec.load_pct;
  live.memory_used_mib = spec.memory_used_mib;
  live.since_ns = shared.created_ns ? std::max(shared.created_ns, old.since_ns) : 0;
  live.temp_c = spec.temp_idle;
  for (int type = 0; type < 2; ++type)
    for (int k = 0; k < 8; ++k) live.ecc[type][1][k] = old.ecc[type][1][k];
  live.remap_corrected = old.remap_corrected;
  live.remap_uncorrected = old.remap_uncorrected;
}

}  // namespace nvmlsim
