// Processes on a GPU or a MIG device, in the three record layouts NVML has had.

#include <atomic>
#include <cstring>

#include "abi_extra.h"
#include "library.h"

using namespace nvmlsim;

namespace {

constexpr u64 kMiB = 1048576;

struct List {
  u32 count = 0;
  Process entries[kMaxProcesses];
};

bool wanted(const Process& p, const View& v, char type) {
  if (!p.used || p.gpu != v.gpu || p.type != static_cast<u32>(type)) return false;
  if (!v.is_mig()) return true;
  return p.gi == v.handle->gi && (p.ci == v.handle->ci || p.ci == kNone);
}

void collect(const View& v, const char* types, List& list) {
  store().read([&](const Shared& shared) {
    list.count = 0;
    for (const Process& p : shared.processes)
      for (const char* type = types; *type; ++type)
        if (wanted(p, v, *type)) list.entries[list.count++] = p;
  });
}

// The list that is always one longer than the caller thought, as often as the fault says.
bool grown_meanwhile(const View& v) {
  static std::atomic<u32> late{0};
  if (v.fx.process_growth == 0) {
    late.store(0);
    return false;
  }
  return late.fetch_add(1) < v.fx.process_growth;
}

template <typename Record, typename Fill>
Return processes(const char* symbol, Device device, u32* count, Record* out, const char* types,
                 Fill fill) {
  return on_device(symbol, device, {count}, kMigToo, [&](const View& v) {
    List list;
    collect(v, types, list);
    const u32 room = *count;
    const bool late = grown_meanwhile(v);
    *count = list.count + (late ? 1 : 0);
    if (late || room < list.count || (list.count && !out))
      return *count ? kErrorInsufficientSize : kSuccess;
    for (u32 i = 0; i < list.count; ++i) fill(list.entries[i], out[i]);
    return kSuccess;
  });
}

void fill_new(const Process& p, ProcessInfo& out) {
  out = {p.pid, p.memory_mib * kMiB, p.gi, p.ci};
}
void fill_old(const Process& p, ProcessInfoV1& out) { out = {p.pid, p.memory_mib * kMiB}; }

}  // namespace

#define SIM_PROCESS_LISTS(kind, type)                                                           \
  SIM_API Return nvmlDeviceGet##kind##RunningProcesses_v3(Device d, u32* n, ProcessInfo* out) { \
    return processes(__func__, d, n, out, type, fill_new);                                      \
  }                                                                                             \
  SIM_API Return nvmlDeviceGet##kind##RunningProcesses_v2(Device d, u32* n, ProcessInfo* out) { \
    return processes(__func__, d, n, out, type, fill_new);                                      \
  }                                                                                             \
  SIM_API Return nvmlDeviceGet##kind##RunningProcesses(Device d, u32* n, ProcessInfoV1* out) {  \
    return processes(__func__, d, n, out, type, fill_old);                                      \
  }

SIM_PROCESS_LISTS(Compute, "C")
SIM_PROCESS_LISTS(Graphics, "G")
SIM_PROCESS_LISTS(MPSCompute, "M")

SIM_API Return nvmlDeviceGetRunningProcessDetailList(Device device, ProcessDetailList* list) {
  if (!list) return enter(__func__) == kSuccess ? kErrorInvalidArgument : enter(__func__);
  const char* const types[] = {"C", "G", "M"};
  if (list->version != version_word<ProcessDetailList>(1)) return kErrorArgumentVersionMismatch;
  if (list->mode > 2) return kErrorInvalidArgument;
  return processes(__func__, device, &list->count, list->entries, types[list->mode],
                   [](const Process& p, ProcessDetail& out) {
                     out = {p.pid, p.memory_mib * kMiB, p.gi, p.ci, 0};
                   });
}

SIM_API Return nvmlDeviceGetProcessUtilization(Device device, ProcessUtilizationSample* out,
                                               u32* count, u64 last_seen) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    if (v.live.mig_mode) return kErrorNotSupported;
    List list;
    collect(v, "CGM", list);
    const u64 stamp = wall_us() / 166667 * 166667;
    const u32 room = *count, found = stamp > last_seen ? list.count : 0;
    *count = found;
    if (found == 0) return kErrorNotFound;
    if (!out || room < found) return kErrorInsufficientSize;
    for (u32 i = 0; i < found; ++i) {
      const Process& p = list.entries[i];
      out[i] = {p.pid, stamp, p.sm_pct, p.memory_pct, 0, 0};
    }
    return kSuccess;
  });
}

SIM_API Return nvmlDeviceGetProcessesUtilizationInfo(Device device,
                                                     ProcessesUtilizationInfo* info) {
  return on_gpu(__func__, device, {info}, [&](const View& v) {
    if (info->version != version_word<ProcessesUtilizationInfo>(1))
      return kErrorArgumentVersionMismatch;
    if (v.live.mig_mode) return kErrorNotSupported;
    List list;
    collect(v, "CGM", list);
    const u64 stamp = wall_us() / 166667 * 166667;
    const u32 room = info->count, found = stamp > info->last_seen ? list.count : 0;
    info->count = found;
    if (found == 0) return kErrorNotFound;
    if (!info->entries || room < found) return kErrorInsufficientSize;
    for (u32 i = 0; i < found; ++i) {
      const Process& p = list.entries[i];
      info->entries[i] = {stamp, p.pid, p.sm_pct, p.memory_pct, 0, 0, 0, 0};
    }
    return kSuccess;
  });
}

SIM_API Return nvmlDeviceGetSamples(Device device, u32 type, u64 last_seen, u32* value_type,
                                    u32* count, Sample* out) {
  return on_gpu(__func__, device, {value_type, count}, [&](const View& v) {
    if (type > 9) return kErrorInvalidArgument;
    if (type > 6) return kErrorNotSupported;
    if (v.live.mig_mode && type != 0) return kErrorNotSupported;
    *value_type = kValueU32;
    const u64 stamp = wall_us() / 166667 * 166667;
    if (stamp <= last_seen) return kErrorNotFound;
    const u64 fresh = last_seen == 0 ? 20 : std::min<u64>(20, (stamp - last_seen) / 166667);
    if (!out) return give(count, fresh);
    const u32 n = std::min(*count, static_cast<u32>(fresh));
    for (u32 i = 0; i < n; ++i) {
      const u64 back = n - 1 - i;
      const Reading r = reading(*v.spec, v.live, v.fx, v.now - std::min(v.now, back * 166666667));
      const u32 values[] = {r.power_mw, r.load_pct, r.memory_pct, 0, 0, r.sm_mhz, r.memory_mhz};
      out[i].timestamp = stamp - back * 166667;
      out[i].value.uint64 = 0;
      out[i].value.uint32 = values[type];
    }
    return give(count, n);
  });
}

SIM_API Return nvmlDeviceGetAccountingMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode}, [&](const View&) { return give(mode, 0); });
}
