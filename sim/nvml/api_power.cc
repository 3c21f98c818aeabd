// Memory, utilisation, power, temperature, clocks and the settings that go with them.

#include <algorithm>
#include <cstring>

#include "abi_extra.h"
#include "library.h"
#include "mig.h"

using namespace nvmlsim;

namespace {

constexpr u64 kMiB = 1048576;

struct Amounts {
  u64 total = 0, reserved = 0, used = 0;  // used without reserved
};

// Of the whole GPU, or of one MIG device.
Amounts amounts(const View& v) {
  Amounts out;
  if (!v.is_mig()) {
    out.total = v.spec->memory_mib * kMiB;
    out.reserved = v.spec->reserved_mib * kMiB;
    out.used = (u64{v.live.memory_used_mib} + v.live.process_memory_mib) * kMiB;
  } else {
    const MigTable* table = mig_table(v.spec->mig_table);
    store().read([&](const Shared& shared) {
      out = {};
      const GpuInstanceState* gi = find_gpu_instance(shared, v.gpu, v.handle->gi);
      const MigProfile* profile = table && gi ? find_profile(*table, gi->profile) : nullptr;
      if (profile) out.total = profile->memory_mib * kMiB;
      for (const Process& p : shared.processes)
        if (p.used && p.gpu == v.gpu && p.gi == v.handle->gi) out.used += p.memory_mib * kMiB;
    });
  }
  out.used = std::min(out.used, out.total - std::min(out.reserved, out.total));
  return out;
}

Return read_number(const char* symbol, Device device, u32* out, bool (*has)(const GpuSpec&),
                   u32 Reading::* member) {
  return on_gpu(symbol, device, {out}, [&](const View& v) {
    return has(*v.spec) ? give(out, v.read().*member) : kErrorNotSupported;
  });
}

bool has_limits(const GpuSpec& s) { return s.power_limits != 0; }
bool has_power(const GpuSpec& s) { return s.power_usage != 0; }

Return set_limit(const char* symbol, Device device, u32 milliwatts) {
  return on_gpu(symbol, device, {device}, [&](const View& v) {
    if (!v.spec->power_limits) return kErrorNotSupported;
    if (!is_root()) return kErrorNoPermission;
    if (milliwatts < v.spec->power_min_mw || milliwatts > v.spec->power_max_mw)
      return kErrorInvalidArgument;
    if (v.fx.setter_refuses) return static_cast<Return>(v.fx.setter_code);
    return mutate([&](Shared& shared) {
      shared.live[v.gpu].power_limit_mw = milliwatts;
      for (Fault& f : shared.faults)  // a new request ends a drift of this GPU
        if (f.used && f.kind == FaultKind::kLimitDrift && f.gpu == v.gpu && in_force(f, now_ns()))
          f.used = 0;
      return kSuccess;
    });
  });
}

Return engine(const char* symbol, Device device, u32* utilization, u32* period) {
  return on_gpu(symbol, device, {utilization, period}, [&](const View& v) {
    if (v.live.mig_mode) return kErrorNotSupported;
    *utilization = 0;
    return give(period, 167000);
  });
}

Return clock_value(const char* symbol, Device device, u32 type, u32* mhz, bool most) {
  return on_gpu(symbol, device, {mhz}, [&](const View& v) {
    if (type > kClockVideo) return kErrorInvalidArgument;
    const Reading r = v.read();
    const u32 now[] = {r.sm_mhz, r.sm_mhz, r.memory_mhz, r.video_mhz};
    const u32 top[] = {v.spec->clock_sm_max, v.spec->clock_sm_max, v.spec->clock_mem_max,
                       v.spec->clock_video_max};
    return top[type] ? give(mhz, most ? top[type] : now[type]) : kErrorNotSupported;
  });
}

// Fills a list of descending values under the array protocol.
template <typename Value>
Return give_list(u32* count, u32* out, u32 needed, Value value) {
  const u32 room = *count;
  *count = needed;
  if (room < needed || !out) return needed ? kErrorInsufficientSize : kSuccess;
  for (u32 i = 0; i < needed; ++i) out[i] = value(i);
  return kSuccess;
}

Return lock_clocks(const char* symbol, Device device, u32 low, u32 high, bool memory) {
  return on_gpu(symbol, device, {device}, [&](const View& v) {
    const u32 most = memory ? v.spec->clock_mem_max : v.spec->clock_sm_max;
    if (!most) return kErrorNotSupported;
    if (!is_root()) return kErrorNoPermission;
    if (low > high || high == 0) return kErrorInvalidArgument;
    return mutate([&](Shared& shared) {
      GpuLive& live = shared.live[v.gpu];
      (memory ? live.locked_mem_min : live.locked_sm_min) = std::min(low, most);
      (memory ? live.locked_mem_max : live.locked_sm_max) = std::min(high, most);
      return kSuccess;
    });
  });
}

Return unlock_clocks(const char* symbol, Device device, bool memory) {
  return on_gpu(symbol, device, {device}, [&](const View& v) {
    return mutate([&](Shared& shared) {
      GpuLive& live = shared.live[v.gpu];
      (memory ? live.locked_mem_min : live.locked_sm_min) = 0;
      (memory ? live.locked_mem_max : live.locked_sm_max) = 0;
      return kSuccess;
    });
  });
}

Return reasons(const char* symbol, Device device, u64* out, bool supported) {
  return on_gpu(symbol, device, {out},
                [&](const View& v) { return give(out, supported ? 0x1EFU : v.read().reasons); });
}

}  // namespace

SIM_API Return nvmlDeviceGetMemoryInfo(Device device, Memory* memory) {
  return on_device(__func__, device, {memory}, kMigToo, [&](const View& v) {
    if (!v.spec->memory_info) return kErrorNotSupported;
    const Amounts a = amounts(v);
    *memory = {a.total, a.total - a.used - a.reserved, a.used + a.reserved};
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2* memory) {
  return on_device(__func__, device, {memory}, kMigToo, [&](const View& v) {
    if (memory->version != version_word<MemoryV2>(2)) return kErrorArgumentVersionMismatch;
    if (!v.spec->memory_info) return kErrorNotSupported;
    const Amounts a = amounts(v);
    *memory = {memory->version, a.total, a.reserved, a.total - a.used - a.reserved, a.used};
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetBAR1MemoryInfo(Device device, Bar1Memory* memory) {
  return on_gpu(__func__, device, {memory}, [&](const View& v) {
    if (!v.spec->bar1_mib) return kErrorNotSupported;
    const u64 total = v.spec->bar1_mib * kMiB, used = 2 * kMiB;
    *memory = {total, total - used, used};
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetUtilizationRates(Device device, Utilization* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (v.live.mig_mode) return kErrorNotSupported;
    const Reading r = v.read();
    *out = {r.load_pct, r.memory_pct};
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetEncoderUtilization(Device d, u32* utilization, u32* period) {
  return engine(__func__, d, utilization, period);
}
SIM_API Return nvmlDeviceGetDecoderUtilization(Device d, u32* utilization, u32* period) {
  return engine(__func__, d, utilization, period);
}
SIM_API Return nvmlDeviceGetJpgUtilization(Device d, u32* utilization, u32* period) {
  return engine(__func__, d, utilization, period);
}
SIM_API Return nvmlDeviceGetOfaUtilization(Device d, u32* utilization, u32* period) {
  return engine(__func__, d, utilization, period);
}

SIM_API Return nvmlDeviceGetPowerUsage(Device device, u32* milliwatts) {
  return read_number(__func__, device, milliwatts, has_power, &Reading::power_mw);
}
SIM_API Return nvmlDeviceGetPowerManagementMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode}, [&](const View& v) {
    return v.spec->power_limits ? give(mode, 1) : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetPowerManagementLimit(Device device, u32* milliwatts) {
  return read_number(__func__, device, milliwatts, has_limits, &Reading::limit_mw);
}
SIM_API Return nvmlDeviceGetEnforcedPowerLimit(Device device, u32* milliwatts) {
  return read_number(__func__, device, milliwatts, has_limits, &Reading::enforced_mw);
}
SIM_API Return nvmlDeviceGetPowerManagementDefaultLimit(Device device, u32* milliwatts) {
  return on_gpu(__func__, device, {milliwatts}, [&](const View& v) {
    return v.spec->power_limits ? give(milliwatts, v.spec->power_default_mw) : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetPowerManagementLimitConstraints(Device device, u32* low, u32* high) {
  return on_gpu(__func__, device, {low, high}, [&](const View& v) {
    if (!v.spec->power_limits) return kErrorNotSupported;
    *low = v.spec->power_min_mw;
    return give(high, v.spec->power_max_mw);
  });
}
SIM_API Return nvmlDeviceSetPowerManagementLimit(Device device, u32 milliwatts) {
  return set_limit(__func__, device, milliwatts);
}
SIM_API Return nvmlDeviceSetPowerManagementLimit_v2(Device device, PowerValueV2* value) {
  Return rc = enter(__func__);
  if (rc != kSuccess) return rc;
  if (!value) return kErrorInvalidArgument;
  if (value->version != version_word<PowerValueV2>(2)) return kErrorArgumentVersionMismatch;
  if (value->scope != 0) return kErrorNotSupported;
  return set_limit(__func__, device, value->milliwatts);
}
SIM_API Return nvmlDeviceGetTotalEnergyConsumption(Device device, u64* millijoules) {
  return on_gpu(__func__, device, {millijoules}, [&](const View& v) {
    return v.spec->power_usage && v.spec->architecture >= kArchVolta
               ? give(millijoules, v.read().energy_mj)
               : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetPersistenceMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode},
                [&](const View& v) { return give(mode, v.live.persistence); });
}
SIM_API Return nvmlDeviceSetPersistenceMode(Device device, u32 mode) {
  return on_gpu(__func__, device, {device}, [&](const View& v) {
    if (mode > 1) return kErrorInvalidArgument;
    return mutate([&](Shared& shared) {
      shared.live[v.gpu].persistence = mode;
      return kSuccess;
    });
  });
}
SIM_API Return nvmlDeviceGetComputeMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode},
                [&](const View& v) { return give(mode, v.live.compute_mode); });
}
SIM_API Return nvmlDeviceSetComputeMode(Device device, u32 mode) {
  return on_gpu(__func__, device, {device}, [&](const View& v) {
    if (mode > kComputeExclusiveProcess) return kErrorInvalidArgument;
    if (mode == kComputeExclusiveThread) return kErrorNotSupported;
    return mutate([&](Shared& shared) {
      shared.live[v.gpu].compute_mode = mode;
      return kSuccess;
    });
  });
}

SIM_API Return nvmlDeviceGetTemperature(Device device, u32 sensor, u32* temperature) {
  return on_gpu(__func__, device, {temperature}, [&](const View& v) {
    if (sensor != kTemperatureGpu) return kErrorInvalidArgument;
    return give(temperature, v.read().temperature);
  });
}
SIM_API Return nvmlDeviceGetTemperatureV(Device device, TemperatureV1* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (out->version != version_word<TemperatureV1>(1)) return kErrorArgumentVersionMismatch;
    if (out->sensor != kTemperatureGpu) return kErrorInvalidArgument;
    return give(&out->temperature, v.read().temperature);
  });
}
SIM_API Return nvmlDeviceGetMarginTemperature(Device device, MarginTemperature* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (out->version != version_word<MarginTemperature>(1)) return kErrorArgumentVersionMismatch;
    if (!v.spec->temp_slowdown) return kErrorNotSupported;
    return give(&out->margin,
                static_cast<int>(v.spec->temp_slowdown) - static_cast<int>(v.read().temperature));
  });
}
SIM_API Return nvmlDeviceGetTemperatureThreshold(Device device, u32 threshold, u32* temperature) {
  return on_gpu(__func__, device, {temperature}, [&](const View& v) {
    if (threshold > 7) return kErrorInvalidArgument;
    const u32 values[] = {v.spec->temp_shutdown, v.spec->temp_slowdown, v.spec->temp_mem_max,
                          v.spec->temp_gpu_max};
    if (threshold > 3 || v.spec->temp_margins || !values[threshold]) return kErrorNotSupported;
    return give(temperature, values[threshold]);
  });
}

namespace {
Return fan(const char* symbol, Device device, u32 index, u32* out, u32 value) {
  return on_gpu(symbol, device, {out}, [&](const View& v) {
    if (v.spec->fans == 0) return kErrorNotSupported;
    if (index >= v.spec->fans) return kErrorInvalidArgument;
    const u32 temperature = v.read().temperature;
    return give(out, value ? value : temperature < 50 ? 0 : std::min(100U, temperature));
  });
}
}  // namespace

SIM_API Return nvmlDeviceGetFanSpeed(Device device, u32* speed) {
  return fan(__func__, device, 0, speed, 0);
}
SIM_API Return nvmlDeviceGetFanSpeed_v2(Device device, u32 index, u32* speed) {
  return fan(__func__, device, index, speed, 0);
}
SIM_API Return nvmlDeviceGetNumFans(Device device, u32* count) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    return v.spec->fans ? give(count, v.spec->fans) : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetMinMaxFanSpeed(Device device, u32* low, u32* high) {
  return on_gpu(__func__, device, {low, high}, [&](const View& v) {
    if (!v.spec->fans) return kErrorNotSupported;
    *low = 30;
    return give(high, 100);
  });
}

SIM_API Return nvmlDeviceGetClockInfo(Device device, u32 type, u32* mhz) {
  return clock_value(__func__, device, type, mhz, false);
}
SIM_API Return nvmlDeviceGetMaxClockInfo(Device device, u32 type, u32* mhz) {
  return clock_value(__func__, device, type, mhz, true);
}
SIM_API Return nvmlDeviceGetClock(Device device, u32 type, u32 id, u32* mhz) {
  return clock_value(__func__, device, type, mhz, id != 0);
}
SIM_API Return nvmlDeviceGetApplicationsClock(Device device, u32 type, u32* mhz) {
  return clock_value(__func__, device, type, mhz, true);
}
SIM_API Return nvmlDeviceGetDefaultApplicationsClock(Device device, u32 type, u32* mhz) {
  return clock_value(__func__, device, type, mhz, true);
}
SIM_API Return nvmlDeviceGetMaxCustomerBoostClock(Device device, u32 type, u32* mhz) {
  return clock_value(__func__, device, type, mhz, true);
}
SIM_API Return nvmlDeviceGetSupportedMemoryClocks(Device device, u32* count, u32* clocks) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    if (!v.spec->clock_mem_max) return kErrorNotSupported;
    return give_list(count, clocks, 2,
                     [&](u32 i) { return i ? v.spec->clock_mem_idle : v.spec->clock_mem_max; });
  });
}
SIM_API Return nvmlDeviceGetSupportedGraphicsClocks(Device device, u32 memory, u32* count,
                                                    u32* clocks) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    if (memory != v.spec->clock_mem_max && memory != v.spec->clock_mem_idle) return kErrorNotFound;
    const u32 steps = (v.spec->clock_sm_max - v.spec->clock_sm_idle) / 15 + 1;
    return give_list(count, clocks, steps, [&](u32 i) { return v.spec->clock_sm_max - 15 * i; });
  });
}
SIM_API Return nvmlDeviceSetGpuLockedClocks(Device device, u32 low, u32 high) {
  return lock_clocks(__func__, device, low, high, false);
}
SIM_API Return nvmlDeviceSetMemoryLockedClocks(Device device, u32 low, u32 high) {
  return lock_clocks(__func__, device, low, high, true);
}
SIM_API Return nvmlDeviceResetGpuLockedClocks(Device device) {
  return unlock_clocks(__func__, device, false);
}
SIM_API Return nvmlDeviceResetMemoryLockedClocks(Device device) {
  return unlock_clocks(__func__, device, true);
}
SIM_API Return nvmlDeviceGetPerformanceState(Device device, u32* state) {
  return on_gpu(__func__, device, {state},
                [&](const View& v) { return give(state, v.read().pstate); });
}
SIM_API Return nvmlDeviceGetPowerState(Device device, u32* state) {
  return on_gpu(__func__, device, {state},
                [&](const View& v) { return give(state, v.read().pstate); });
}
SIM_API Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, u64* out) {
  return reasons(__func__, device, out, false);
}
SIM_API Return nvmlDeviceGetCurrentClocksEventReasons(Device device, u64* out) {
  return reasons(__func__, device, out, false);
}
SIM_API Return nvmlDeviceGetSupportedClocksThrottleReasons(Device device, u64* out) {
  return reasons(__func__, device, out, true);
}
SIM_API Return nvmlDeviceGetSupportedClocksEventReasons(Device device, u64* out) {
  return reasons(__func__, device, out, true);
}
SIM_API Return nvmlDeviceGetViolationStatus(Device device, u32 policy, ViolationTime* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    const Reading r = v.read();
    const u64 times[] = {r.violation_ns[0], r.violation_ns[1], 0, r.violation_ns[2], 0, 0};
    if (policy > 5)
      return policy == 10 || policy == 11 ? kErrorNotSupported : kErrorInvalidArgument;
    *out = {wall_us(), times[policy]};
    return kSuccess;
  });
}
