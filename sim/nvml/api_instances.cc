// GPU and compute instances: profiles, places, creation and destruction.

#include <cstdio>
#include <cstring>
#include <string>

#include "abi_extra.h"
#include "library.h"
#include "mig.h"

using namespace nvmlsim;

namespace {

const MigTable* table_of(const View& v) { return mig_table(v.spec->mig_table); }

GpuInstance gpu_instance_handle(uint32_t gpu, const GpuInstanceState& gi) {
  const Device parent = gpu_handle(gpu);
  const auto* handle = reinterpret_cast<const Handle*>(parent);
  return reinterpret_cast<GpuInstance>(
      handle ? intern({HandleKind::kGpuInstance, gpu, gi.id, kNone, gi.generation, handle->epoch})
             : nullptr);
}

ComputeInstance compute_handle(uint32_t gpu, const GpuInstanceState& gi,
                               const ComputeInstanceState& ci) {
  const auto* handle = reinterpret_cast<const Handle*>(gpu_handle(gpu));
  return reinterpret_cast<ComputeInstance>(
      handle
          ? intern({HandleKind::kComputeInstance, gpu, gi.id, ci.id, ci.generation, handle->epoch})
          : nullptr);
}

// Where an instance handle leads, copied out of the state.
struct Instance {
  View view;
  GpuInstanceState gi{};
  ComputeInstanceState ci{};
};

Return look_up(const char* symbol, const void* pointer, HandleKind kind, Instance& out) {
  const Handle* handle = find_handle(pointer, kind);
  if (!handle) return kErrorInvalidArgument;
  const Return rc = view_of(symbol, gpu_handle(handle->gpu), false, out.view);
  if (rc != kSuccess) return rc;
  bool found = false;
  store().read([&](const Shared& shared) {
    found = false;
    const GpuInstanceState* gi = find_gpu_instance(shared, handle->gpu, handle->gi);
    if (!gi) return;
    out.gi = *gi;
    if (kind == HandleKind::kGpuInstance) {
      found = gi->generation == handle->generation;
      return;
    }
    const ComputeInstanceState* ci = find_compute_instance(*gi, handle->ci);
    if (ci) out.ci = *ci;
    found = ci && ci->generation == handle->generation;
  });
  return found ? kSuccess : kErrorInvalidArgument;
}

template <typename F>
Return on_instance(const char* symbol, const void* handle, HandleKind kind,
                   std::initializer_list<const void*> pointers, F&& f) {
  Return rc = enter(symbol);
  if (rc != kSuccess) return rc;
  for (const void* p : pointers)
    if (!p) return kErrorInvalidArgument;
  Instance instance;
  rc = look_up(symbol, handle, kind, instance);
  return rc == kSuccess ? f(static_cast<const Instance&>(instance)) : rc;
}

Return profile_of(const View& v, u32 profile, const MigProfile*& out) {
  if (!table_of(v)) return kErrorNotSupported;
  if (profile >= kGpuInstanceProfileCount) return kErrorInvalidArgument;
  out = find_profile(*table_of(v), profile);
  return out ? kSuccess : kErrorNotSupported;
}

void fill_profile(const MigProfile& p, GpuInstanceProfileInfo* out) {
  *out = {p.id,       0,          p.slices, p.max_instances, p.sms,       p.copy,
          p.decoders, p.encoders, p.jpeg,   p.ofa,           p.memory_mib};
}

Return fill_profile_v(const MigProfile& p, GpuInstanceProfileInfoV2* out) {
  const std::string name = std::string("MIG ") + p.name;
  if (out->version == version_word<GpuInstanceProfileInfoV2>(2)) {
    *out = {out->version, p.id,       0,      p.slices, p.max_instances, p.sms, p.copy,
            p.decoders,   p.encoders, p.jpeg, p.ofa,    p.memory_mib,    {}};
    return copy_text(name.c_str(), out->name, sizeof(out->name));
  }
  auto* v3 = reinterpret_cast<GpuInstanceProfileInfoV3*>(out);
  if (v3->version != version_word<GpuInstanceProfileInfoV3>(3))
    return kErrorArgumentVersionMismatch;
  *v3 = {v3->version, p.id,   p.slices, p.max_instances, p.sms, p.copy, p.decoders,
         p.encoders,  p.jpeg, p.ofa,    p.memory_mib,    {},    0};
  return copy_text(name.c_str(), v3->name, sizeof(v3->name));
}

Return mig_on(const View& v) {
  if (!table_of(v) || !v.live.mig_mode) return kErrorNotSupported;
  return kSuccess;
}

// Profile by the id that nvidia-smi prints, on a GPU in MIG mode.
Return profile_by_id(const View& v, u32 id, const MigProfile*& out) {
  const Return rc = mig_on(v);
  if (rc != kSuccess) return rc;
  out = find_profile_by_id(*table_of(v), id);
  return out ? kSuccess : kErrorInvalidArgument;
}

Return placements(const char* symbol, Device device, u32 id, GpuInstancePlacement* out,
                  u32* count) {
  return on_gpu(symbol, device, {count}, [&](const View& v) {
    const MigProfile* p = nullptr;
    const Return rc = profile_by_id(v, id, p);
    if (rc != kSuccess) return rc;
    const u32 room = *count;
    *count = p->place_count;
    if (!out) return kSuccess;
    if (room < p->place_count) return kErrorInsufficientSize;
    for (u32 i = 0; i < p->place_count; ++i) out[i] = {p->places[i], p->place_size};
    return kSuccess;
  });
}

Return create_instance(const char* symbol, Device device, u32 id, u32 start, GpuInstance* out) {
  return on_gpu(symbol, device, {out}, [&](const View& v) {
    const MigProfile* p = nullptr;
    Return rc = profile_by_id(v, id, p);
    if (rc != kSuccess) return rc;
    if (v.fx.mig_busy) return static_cast<Return>(v.fx.mig_busy);
    GpuInstanceState made{};
    rc = mutate([&](Shared& shared) {
      u32 new_id = 0;
      const u32 code = create_gpu_instance(shared, v.gpu, *p, start, new_id);
      if (code == kSuccess) made = *find_gpu_instance(shared, v.gpu, new_id);
      return static_cast<Return>(code);
    });
    if (rc == kSuccess) *out = gpu_instance_handle(v.gpu, made);
    return rc;
  });
}

Return create_compute(const char* symbol, GpuInstance handle, u32 profile, u32 start,
                      ComputeInstance* out) {
  return on_instance(symbol, handle, HandleKind::kGpuInstance, {out}, [&](const Instance& at) {
    if (at.view.fx.mig_busy) return static_cast<Return>(at.view.fx.mig_busy);
    ComputeInstanceState made{};
    const Return rc = mutate([&](Shared& shared) {
      u32 id = 0;
      const u32 code = create_compute_instance(shared, at.view.gpu, at.gi.id, profile, start, id);
      const GpuInstanceState* gi = find_gpu_instance(shared, at.view.gpu, at.gi.id);
      if (code == kSuccess && gi) made = *find_compute_instance(*gi, id);
      return static_cast<Return>(code);
    });
    if (rc == kSuccess) *out = compute_handle(at.view.gpu, at.gi, made);
    return rc;
  });
}

// How many instances of `slices` fit into one GPU instance of `owner`.
Return compute_profile(const Instance& at, u32 profile, u32 engine, ComputeInstanceProfileInfo* out,
                       std::string* name) {
  const MigProfile* owner = find_profile(*table_of(at.view), at.gi.profile);
  const u32 slices = compute_profile_slices(profile);
  if (profile >= 9 || engine != 0) return kErrorInvalidArgument;
  if (!owner || slices == 0 || slices > owner->slices || profile == 7) return kErrorNotSupported;
  *out = {profile,     slices,          owner->slices / slices, owner->sms / owner->slices * slices,
          owner->copy, owner->decoders, owner->encoders,        owner->jpeg,
          owner->ofa};
  if (name)
    *name = slices == owner->slices ? std::string("MIG ") + owner->name
                                    : "MIG " + std::to_string(slices) + "c." + owner->name;
  return kSuccess;
}

u32 list_count(u32* count, const void* out, u32 found, Return& rc) {
  const u32 room = *count;
  *count = found;
  rc = found && (!out || room < found) && room != 0 ? kErrorInsufficientSize : kSuccess;
  return rc == kSuccess && out ? found : 0;
}

}  // namespace

SIM_API Return nvmlDeviceGetGpuInstanceProfileInfo(Device device, u32 profile,
                                                   GpuInstanceProfileInfo* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    const MigProfile* p = nullptr;
    const Return rc = profile_of(v, profile, p);
    if (rc == kSuccess) fill_profile(*p, out);
    return rc;
  });
}
SIM_API Return nvmlDeviceGetGpuInstanceProfileInfoV(Device device, u32 profile,
                                                    GpuInstanceProfileInfoV2* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    const MigProfile* p = nullptr;
    const Return rc = profile_of(v, profile, p);
    return rc == kSuccess ? fill_profile_v(*p, out) : rc;
  });
}
SIM_API Return nvmlDeviceGetGpuInstanceProfileInfoByIdV(Device device, u32 id,
                                                        GpuInstanceProfileInfoV2* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    const MigProfile* p = nullptr;
    const Return rc = profile_by_id(v, id, p);
    return rc == kSuccess ? fill_profile_v(*p, out) : rc;
  });
}
SIM_API Return nvmlDeviceGetGpuInstancePossiblePlacements_v2(Device device, u32 id,
                                                             GpuInstancePlacement* out,
                                                             u32* count) {
  return placements(__func__, device, id, out, count);
}
SIM_API Return nvmlDeviceGetGpuInstancePossiblePlacements(Device device, u32 id,
                                                          GpuInstancePlacement* out, u32* count) {
  return placements(__func__, device, id, out, count);
}
SIM_API Return nvmlDeviceGetGpuInstanceRemainingCapacity(Device device, u32 id, u32* count) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    const MigProfile* p = nullptr;
    const Return rc = profile_by_id(v, id, p);
    if (rc != kSuccess) return rc;
    store().read([&](const Shared& shared) { *count = remaining_capacity(shared, v.gpu, *p); });
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceCreateGpuInstance(Device device, u32 id, GpuInstance* out) {
  return create_instance(__func__, device, id, kNone, out);
}
SIM_API Return nvmlDeviceCreateGpuInstanceWithPlacement(Device device, u32 id,
                                                        const GpuInstancePlacement* placement,
                                                        GpuInstance* out) {
  if (!placement) return nvmlDeviceCreateGpuInstance(device, id, nullptr);
  return create_instance(__func__, device, id, placement->start, out);
}
SIM_API Return nvmlGpuInstanceDestroy(GpuInstance handle) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {}, [&](const Instance& at) {
    return mutate([&](Shared& shared) {
      return static_cast<Return>(destroy_gpu_instance(shared, at.view.gpu, at.gi.id));
    });
  });
}

SIM_API Return nvmlDeviceGetGpuInstances(Device device, u32 id, GpuInstance* out, u32* count) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    const MigProfile* p = nullptr;
    Return rc = profile_by_id(v, id, p);
    if (rc != kSuccess) return rc;
    GpuInstanceState found[kMaxGpuInstances];
    u32 n = 0;
    store().read([&](const Shared& shared) {
      n = 0;
      for (const GpuInstanceState& gi : shared.mig[v.gpu])
        if (gi.used && gi.profile == p->profile) found[n++] = gi;
    });
    if (!out) return give(count, n);
    *count = n;  // the caller's array holds instanceCount entries, as the interface demands
    for (u32 i = 0; i < n; ++i) out[i] = gpu_instance_handle(v.gpu, found[i]);
    return rc;
  });
}

SIM_API Return nvmlDeviceGetGpuInstanceById(Device device, u32 id, GpuInstance* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    const Return rc = mig_on(v);
    if (rc != kSuccess) return rc;
    GpuInstanceState found{};
    store().read([&](const Shared& shared) {
      const GpuInstanceState* gi = find_gpu_instance(shared, v.gpu, id);
      found = gi ? *gi : GpuInstanceState{};
    });
    if (!found.used) return kErrorNotFound;
    *out = gpu_instance_handle(v.gpu, found);
    return kSuccess;
  });
}

SIM_API Return nvmlGpuInstanceGetInfo(GpuInstance handle, GpuInstanceInfo* out) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {out}, [&](const Instance& at) {
    const MigProfile* p = find_profile(*table_of(at.view), at.gi.profile);
    *out = {gpu_handle(at.view.gpu), at.gi.id, p ? p->id : 0, {at.gi.start, at.gi.size}};
    return kSuccess;
  });
}

SIM_API Return nvmlGpuInstanceGetComputeInstanceProfileInfo(GpuInstance handle, u32 profile,
                                                            u32 engine,
                                                            ComputeInstanceProfileInfo* out) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {out}, [&](const Instance& at) {
    return compute_profile(at, profile, engine, out, nullptr);
  });
}

SIM_API Return nvmlGpuInstanceGetComputeInstanceProfileInfoV(GpuInstance handle, u32 profile,
                                                             u32 engine,
                                                             ComputeInstanceProfileInfoV2* out) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {out}, [&](const Instance& at) {
    const bool v3 = out->version == version_word<ComputeInstanceProfileInfoV3>(3);
    if (!v3 && out->version != version_word<ComputeInstanceProfileInfoV2>(2))
      return kErrorArgumentVersionMismatch;
    std::string name;
    const Return rc = compute_profile(at, profile, engine, &out->base, &name);
    if (rc != kSuccess) return rc;
    if (v3) reinterpret_cast<ComputeInstanceProfileInfoV3*>(out)->capabilities = 0;
    return copy_text(name.c_str(), out->name, sizeof(out->name));
  });
}

SIM_API Return nvmlGpuInstanceGetComputeInstanceRemainingCapacity(GpuInstance handle, u32 profile,
                                                                  u32* count) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {count}, [&](const Instance& at) {
    ComputeInstanceProfileInfo info{};
    const Return rc = compute_profile(at, profile, 0, &info, nullptr);
    if (rc != kSuccess) return rc;
    const MigProfile* owner = find_profile(*table_of(at.view), at.gi.profile);
    u32 used = 0;
    for (const ComputeInstanceState& ci : at.gi.compute) used += ci.used ? ci.size : 0;
    return give(count, (owner->slices - used) / info.slice_count);
  });
}

SIM_API Return nvmlGpuInstanceGetComputeInstancePossiblePlacements(GpuInstance handle, u32 profile,
                                                                   GpuInstancePlacement* out,
                                                                   u32* count) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {count}, [&](const Instance& at) {
    ComputeInstanceProfileInfo info{};
    Return rc = compute_profile(at, profile, 0, &info, nullptr);
    if (rc != kSuccess) return rc;
    const MigProfile* owner = find_profile(*table_of(at.view), at.gi.profile);
    const u32 n = list_count(count, out, owner->slices - info.slice_count + 1, rc);
    for (u32 i = 0; i < n; ++i) out[i] = {i, info.slice_count};
    return rc;
  });
}

SIM_API Return nvmlGpuInstanceCreateComputeInstance(GpuInstance handle, u32 profile,
                                                    ComputeInstance* out) {
  return create_compute(__func__, handle, profile, kNone, out);
}
SIM_API Return nvmlGpuInstanceCreateComputeInstanceWithPlacement(
    GpuInstance handle, u32 profile, const GpuInstancePlacement* placement, ComputeInstance* out) {
  return create_compute(__func__, handle, profile, placement ? placement->start : kNone, out);
}
SIM_API Return nvmlComputeInstanceDestroy(ComputeInstance handle) {
  return on_instance(__func__, handle, HandleKind::kComputeInstance, {}, [&](const Instance& at) {
    return mutate([&](Shared& shared) {
      return static_cast<Return>(destroy_compute_instance(shared, at.view.gpu, at.gi.id, at.ci.id));
    });
  });
}

SIM_API Return nvmlGpuInstanceGetComputeInstances(GpuInstance handle, u32 profile,
                                                  ComputeInstance* out, u32* count) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {count}, [&](const Instance& at) {
    u32 n = 0;
    for (const ComputeInstanceState& ci : at.gi.compute) {
      if (!ci.used || ci.profile != profile) continue;
      if (out) out[n] = compute_handle(at.view.gpu, at.gi, ci);
      ++n;
    }
    return give(count, n);
  });
}

SIM_API Return nvmlGpuInstanceGetComputeInstanceById(GpuInstance handle, u32 id,
                                                     ComputeInstance* out) {
  return on_instance(__func__, handle, HandleKind::kGpuInstance, {out}, [&](const Instance& at) {
    const ComputeInstanceState* ci = find_compute_instance(at.gi, id);
    if (!ci) return kErrorNotFound;
    *out = compute_handle(at.view.gpu, at.gi, *ci);
    return kSuccess;
  });
}

namespace {
ComputeInstanceInfo compute_info(const Instance& at) {
  return {gpu_handle(at.view.gpu),
          gpu_instance_handle(at.view.gpu, at.gi),
          at.ci.id,
          at.ci.profile,
          {at.ci.start, at.ci.size}};
}
}  // namespace

SIM_API Return nvmlComputeInstanceGetInfo_v2(ComputeInstance handle, ComputeInstanceInfo* out) {
  return on_instance(__func__, handle, HandleKind::kComputeInstance, {out},
                     [&](const Instance& at) { return *out = compute_info(at), kSuccess; });
}
SIM_API Return nvmlComputeInstanceGetInfo(ComputeInstance handle, ComputeInstanceInfoV1* out) {
  return on_instance(__func__, handle, HandleKind::kComputeInstance, {out},
                     [&](const Instance& at) {
                       const ComputeInstanceInfo full = compute_info(at);
                       *out = {full.device, full.gpu_instance, full.id, full.profile_id};
                       return kSuccess;
                     });
}
