// GPU performance monitoring (Hopper and later): samples and the ratios between two of them.

#include <atomic>
#include <cmath>
#include <cstring>

#include "abi_extra.h"
#include "library.h"

using namespace nvmlsim;

namespace {

constexpr u32 kMaxSamples = 512;

struct SampleData {
  std::atomic<u32> used{0};
  bool filled = false;
  u32 gpu = 0, load_pct = 0;
  u64 stamp = 0;
};
SampleData samples[kMaxSamples];

SampleData* find_sample(GpmSample sample) {
  const auto at = reinterpret_cast<std::uintptr_t>(sample);
  const auto base = reinterpret_cast<std::uintptr_t>(&samples[0]);
  if (at < base || at >= base + sizeof(samples) || (at - base) % sizeof(SampleData)) return nullptr;
  SampleData* found = &samples[(at - base) / sizeof(SampleData)];
  return found->used.load() == 2 ? found : nullptr;
}

// Percent or MiB/s for a metric under a load, NaN where the board has none such.
double metric(u32 id, double load) {
  switch (id) {
    case 1:
    case 2:
      return load;
    case 3:
      return load * 0.6;
    case 4:
      return load * 0.1;
    case 5:
    case 7:
      return load * 0.45;
    case 6:
    case 9:
    case 11:
      return 0;
    case 10:
      return load * 0.4;
    case 12:
      return load * 0.2;
    case 13:
      return load * 0.15;
    case 20:
      return load * 4;
    case 21:
      return load * 9;
    case 60:
    case 61:
      return load * 100;
    default:
      return id >= 30 && id <= 51 ? 0 : std::nan("");
  }
}

Return take(const char* symbol, Device device, u32 gi, GpmSample sample) {
  return on_gpu(symbol, device, {sample}, [&](const View& v) {
    SampleData* data = find_sample(sample);
    if (!data) return kErrorInvalidArgument;
    if (!v.spec->gpm) return kErrorNotSupported;
    if (gi != kNone && !v.live.mig_mode) return kErrorInvalidArgument;
    data->filled = true;
    data->gpu = v.gpu;
    data->load_pct = v.read().load_pct;
    data->stamp = v.now;
    return kSuccess;
  });
}

}  // namespace

SIM_API Return nvmlGpmQueryDeviceSupport(Device device, GpmSupport* support) {
  return on_gpu(__func__, device, {support}, [&](const View& v) {
    if (support->version != 1) return kErrorArgumentVersionMismatch;
    return give(&support->is_supported, v.spec->gpm);
  });
}
SIM_API Return nvmlGpmSampleAlloc(GpmSample* out) {
  const Return rc = enter(__func__);
  if (rc != kSuccess) return rc;
  if (!out) return kErrorInvalidArgument;
  for (SampleData& data : samples) {
    u32 free = 0;
    if (!data.used.compare_exchange_strong(free, 1)) continue;
    data.filled = false;
    data.used.store(2);
    *out = reinterpret_cast<GpmSample>(&data);
    return kSuccess;
  }
  return kErrorMemory;
}
SIM_API Return nvmlGpmSampleFree(GpmSample sample) {
  const Return rc = enter(__func__);
  if (rc == kErrorUninitialized) return rc;
  SampleData* data = find_sample(sample);
  if (!data) return kErrorInvalidArgument;
  data->used.store(0);
  return kSuccess;
}
SIM_API Return nvmlGpmSampleGet(Device device, GpmSample sample) {
  return take(__func__, device, kNone, sample);
}
SIM_API Return nvmlGpmMigSampleGet(Device device, u32 gi, GpmSample sample) {
  return take(__func__, device, gi, sample);
}
SIM_API Return nvmlGpmMetricsGet(GpmMetricsGet* get) {
  Return rc = enter(__func__);
  if (rc != kSuccess) return rc;
  if (!get) return kErrorInvalidArgument;
  const SampleData* a = find_sample(get->sample1);
  const SampleData* b = find_sample(get->sample2);
  if (!a || !b || !a->filled || !b->filled || a->gpu != b->gpu) return kErrorInvalidArgument;
  rc = call_faults(__func__, a->gpu);
  if (rc != kSuccess) return rc;
  if (get->version != 1) return kErrorArgumentVersionMismatch;
  if (get->count > 333) return kErrorInvalidArgument;
  const double load = (a->load_pct + b->load_pct) / 2.0;
  for (u32 i = 0; i < get->count; ++i) {
    GpmMetric& m = get->metrics[i];
    m.value = metric(m.metric_id, load);
    m.nvml_return = std::isnan(m.value) ? kErrorNotSupported : kSuccess;
    m.short_name = m.long_name = "";
    m.unit = m.metric_id >= 20 && m.metric_id != 30 && m.metric_id < 62 && m.metric_id > 51
                 ? "MiB/s"
                 : "%";
    if (m.metric_id == 20 || m.metric_id == 21) m.unit = "MiB/s";
  }
  return kSuccess;
}
SIM_API Return nvmlGpmQueryIfStreamingEnabled(Device device, u32* enabled) {
  return on_gpu(__func__, device, {enabled},
                [&](const View& v) { return v.spec->gpm ? give(enabled, 0) : kErrorNotSupported; });
}
