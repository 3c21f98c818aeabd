// Multi-instance GPU: modes, MIG devices and what they are. Instances are in api_instances.cc.

#include <cstdio>
#include <cstring>
#include <string>

#include "abi_extra.h"
#include "library.h"
#include "mig.h"

using namespace nvmlsim;

namespace {

const MigTable* table_of(const View& v) { return mig_table(v.spec->mig_table); }

Return mig_on(const View& v) {
  if (!table_of(v) || !v.live.mig_mode) return kErrorNotSupported;
  return kSuccess;
}

}  // namespace

SIM_API Return nvmlDeviceGetMigMode(Device device, u32* current, u32* pending) {
  return on_gpu(__func__, device, {current, pending}, [&](const View& v) {
    if (!table_of(v)) return kErrorNotSupported;
    *current = v.live.mig_mode;
    return give(pending, v.live.mig_pending);
  });
}

SIM_API Return nvmlDeviceSetMigMode(Device device, u32 mode, Return* activation) {
  return on_gpu(__func__, device, {activation}, [&](const View& v) {
    if (!table_of(v)) return kErrorNotSupported;
    if (mode > 1) return kErrorInvalidArgument;
    return mutate([&](Shared& shared) {
      if (v.fx.mig_busy == kErrorResetRequired) {  // takes effect at the next reset
        shared.live[v.gpu].mig_pending = mode;
        *activation = kErrorResetRequired;
        return kSuccess;
      }
      *activation = static_cast<Return>(set_mig_mode(shared, v.gpu, mode != 0));
      return *activation;
    });
  });
}

SIM_API Return nvmlDeviceGetMaxMigDeviceCount(Device device, u32* count) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    return give(count, table_of(v) && v.live.mig_mode ? table_of(v)->max_devices : 0);
  });
}

SIM_API Return nvmlDeviceGetMigDeviceHandleByIndex(Device device, u32 index, Device* mig) {
  return on_gpu(__func__, device, {mig}, [&](const View& v) {
    const Return rc = mig_on(v);
    if (rc != kSuccess) return rc;
    if (index >= table_of(v)->max_devices) return kErrorInvalidArgument;
    GpuInstanceState gi{};
    ComputeInstanceState ci{};
    bool found = false;
    store().read([&](const Shared& shared) {
      u32 gi_id = 0, ci_id = 0;
      found = mig_device_at(shared, v.gpu, index, gi_id, ci_id);
      if (!found) return;
      gi = *find_gpu_instance(shared, v.gpu, gi_id);
      ci = *find_compute_instance(gi, ci_id);
    });
    if (!found) return kErrorNotFound;
    *mig = mig_handle(v.gpu, gi, ci);
    return *mig ? kSuccess : kErrorMemory;
  });
}

SIM_API Return nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device mig, Device* device) {
  return on_device(__func__, mig, {device}, kMigToo, [&](const View& v) {
    if (!v.is_mig()) return kErrorInvalidArgument;
    *device = gpu_handle(v.gpu);
    return kSuccess;
  });
}

SIM_API Return nvmlDeviceIsMigDeviceHandle(Device device, u32* is_mig) {
  return on_device(__func__, device, {is_mig}, kMigToo,
                   [&](const View& v) { return give(is_mig, v.is_mig()); });
}

SIM_API Return nvmlDeviceGetGpuInstanceId(Device device, u32* id) {
  return on_device(__func__, device, {id}, kMigToo, [&](const View& v) {
    return v.is_mig() ? give(id, v.handle->gi) : kErrorNotSupported;
  });
}

SIM_API Return nvmlDeviceGetComputeInstanceId(Device device, u32* id) {
  return on_device(__func__, device, {id}, kMigToo, [&](const View& v) {
    return v.is_mig() ? give(id, v.handle->ci) : kErrorNotSupported;
  });
}

namespace {
Return attributes(const char* symbol, Device device, DeviceAttributes* out) {
  return on_device(symbol, device, {out}, kMigToo, [&](const View& v) {
    if (!v.is_mig()) return kErrorNotSupported;
    u32 slices = 0, profile = kNone;
    store().read([&](const Shared& shared) {
      const GpuInstanceState* gi = find_gpu_instance(shared, v.gpu, v.handle->gi);
      const ComputeInstanceState* ci = gi ? find_compute_instance(*gi, v.handle->ci) : nullptr;
      slices = ci ? ci->size : 0;
      profile = gi ? gi->profile : kNone;
    });
    const MigProfile* p = find_profile(*table_of(v), profile);
    if (!p || !slices) return kErrorInvalidArgument;
    *out = {p->sms / p->slices * slices,
            p->copy,
            p->decoders,
            p->encoders,
            p->jpeg,
            p->ofa,
            p->slices,
            slices,
            p->memory_mib};
    if (slices == p->slices) out->multiprocessor_count = p->sms;
    return kSuccess;
  });
}
}  // namespace

SIM_API Return nvmlDeviceGetAttributes_v2(Device device, DeviceAttributes* out) {
  return attributes(__func__, device, out);
}
SIM_API Return nvmlDeviceGetAttributes(Device device, DeviceAttributes* out) {
  return attributes(__func__, device, out);
}
