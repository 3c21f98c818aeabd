#include "mig.h"

#include <algorithm>
#include <cstring>

#include "machine.h"

namespace nvmlsim {
namespace {

constexpr uint32_t kOk = 0, kInvalid = 2, kUnsupported = 3, kNotFound = 6, kInUse = 19,
                   kNoRoom = 23;

bool overlaps(uint32_t a, uint32_t a_size, uint32_t b, uint32_t b_size) {
  return a < b + b_size && b < a + a_size;
}

bool place_free(const Shared& shared, uint32_t gpu, uint32_t start, uint32_t size) {
  for (const GpuInstanceState& gi : shared.mig[gpu])
    if (gi.used && overlaps(start, size, gi.start, gi.size)) return false;
  return true;
}

// Compute slices used on the GPU: 7 slices share 8 memory slices, so places alone do not limit.
uint32_t used_slices(const Shared& shared, uint32_t gpu, const MigTable& table) {
  uint32_t total = 0;
  for (const GpuInstanceState& gi : shared.mig[gpu])
    if (gi.used)
      if (const MigProfile* p = find_profile(table, gi.profile)) total += p->slices;
  return total;
}

uint32_t instances_of(const Shared& shared, uint32_t gpu, uint32_t profile) {
  uint32_t count = 0;
  for (const GpuInstanceState& gi : shared.mig[gpu]) count += gi.used && gi.profile == profile;
  return count;
}

GpuInstanceState* mutable_instance(Shared& shared, uint32_t gpu, uint32_t id) {
  return const_cast<GpuInstanceState*>(find_gpu_instance(shared, gpu, id));
}

bool process_on(const Shared& shared, uint32_t gpu, uint32_t gi, uint32_t ci) {
  for (const Process& p : shared.processes)
    if (p.used && p.gpu == gpu && p.gi == gi && (ci == kNone || p.ci == ci)) return true;
  return false;
}

// Drivers number instances by size: the whole GPU 0, halves from 1, quarters from 3, the rest
// from 7.
uint32_t first_id(uint32_t slices, uint32_t most) {
  if (slices >= most) return 0;
  return slices >= 3 ? 1 : slices == 2 ? 3 : 7;
}

uint32_t first_place(const Shared& shared, uint32_t gpu, const MigProfile& profile) {
  for (uint32_t i = 0; i < profile.place_count; ++i)
    if (place_free(shared, gpu, profile.places[i], profile.place_size)) return profile.places[i];
  return kNone;
}

}  // namespace

const GpuInstanceState* find_gpu_instance(const Shared& shared, uint32_t gpu, uint32_t id) {
  for (const GpuInstanceState& gi : shared.mig[gpu])
    if (gi.used && gi.id == id) return &gi;
  return nullptr;
}

const ComputeInstanceState* find_compute_instance(const GpuInstanceState& gi, uint32_t id) {
  for (const ComputeInstanceState& ci : gi.compute)
    if (ci.used && ci.id == id) return &ci;
  return nullptr;
}

uint32_t create_gpu_instance(Shared& shared, uint32_t gpu, const MigProfile& profile,
                             uint32_t start, uint32_t& id) {
  const MigTable* table = mig_table(shared.machine.gpus[gpu].mig_table);
  if (!table || !shared.live[gpu].mig_mode) return kUnsupported;
  if (start != kNone) {
    const uint32_t* end = profile.places + profile.place_count;
    if (std::find(profile.places, end, start) == end) return kInvalid;
    if (!place_free(shared, gpu, start, profile.place_size)) return kNoRoom;
  }
  if (remaining_capacity(shared, gpu, profile) == 0) return kNoRoom;
  if (start == kNone) start = first_place(shared, gpu, profile);
  for (GpuInstanceState& gi : shared.mig[gpu]) {
    if (gi.used) continue;
    std::memset(&gi, 0, sizeof(gi));
    id = first_id(profile.slices, table->max_devices);
    while (find_gpu_instance(shared, gpu, id)) ++id;
    gi.used = 1;
    gi.id = id;
    gi.profile = profile.profile;
    gi.start = start;
    gi.size = profile.place_size;
    gi.generation = ++shared.live[gpu].instance_counter;
    return kOk;
  }
  return kNoRoom;
}

uint32_t destroy_gpu_instance(Shared& shared, uint32_t gpu, uint32_t id) {
  GpuInstanceState* gi = mutable_instance(shared, gpu, id);
  if (!gi) return kNotFound;
  for (const ComputeInstanceState& ci : gi->compute)
    if (ci.used) return kInUse;
  gi->used = 0;
  return kOk;
}

uint32_t create_compute_instance(Shared& shared, uint32_t gpu, uint32_t gi_id, uint32_t profile,
                                 uint32_t start, uint32_t& id) {
  const MigTable* table = mig_table(shared.machine.gpus[gpu].mig_table);
  GpuInstanceState* gi = mutable_instance(shared, gpu, gi_id);
  const MigProfile* owner = table && gi ? find_profile(*table, gi->profile) : nullptr;
  const uint32_t slices = compute_profile_slices(profile);
  if (!owner) return kNotFound;
  if (slices == 0 || slices > owner->slices || profile == 7) return kUnsupported;
  const auto fits = [&](uint32_t at) {
    if (at + slices > owner->slices) return false;
    for (const ComputeInstanceState& ci : gi->compute)
      if (ci.used && overlaps(at, slices, ci.start, ci.size)) return false;
    return true;
  };
  if (start == kNone)
    for (uint32_t at = 0; at < owner->slices && start == kNone; ++at)
      if (fits(at)) start = at;
  if (start == kNone || !fits(start)) return kNoRoom;
  for (ComputeInstanceState& ci : gi->compute) {
    if (ci.used) continue;
    for (id = 0; find_compute_instance(*gi, id);) ++id;
    ci = {1, id, profile, start, slices, ++shared.live[gpu].instance_counter};
    return kOk;
  }
  return kNoRoom;
}

uint32_t destroy_compute_instance(Shared& shared, uint32_t gpu, uint32_t gi_id, uint32_t id) {
  GpuInstanceState* gi = mutable_instance(shared, gpu, gi_id);
  if (!gi) return kNotFound;
  if (process_on(shared, gpu, gi_id, id)) return kInUse;
  for (ComputeInstanceState& ci : gi->compute) {
    if (!ci.used || ci.id != id) continue;
    ci.used = 0;
    return kOk;
  }
  return kNotFound;
}

uint32_t create_full_device(Shared& shared, uint32_t gpu, uint32_t profile_enum) {
  const MigTable* table = mig_table(shared.machine.gpus[gpu].mig_table);
  const MigProfile* profile = table ? find_profile(*table, profile_enum) : nullptr;
  if (!profile) return kUnsupported;
  uint32_t gi = 0, ci = 0;
  const uint32_t rc = create_gpu_instance(shared, gpu, *profile, kNone, gi);
  if (rc != kOk) return rc;
  return create_compute_instance(shared, gpu, gi, compute_profile_of(profile->slices), 0, ci);
}

uint32_t remaining_capacity(const Shared& shared, uint32_t gpu, const MigProfile& profile) {
  const MigTable* table = mig_table(shared.machine.gpus[gpu].mig_table);
  if (!table) return 0;
  const uint32_t have = instances_of(shared, gpu, profile.profile);
  const uint32_t slices = used_slices(shared, gpu, *table);
  uint32_t places = 0, after = 0;  // places never overlap each other when taken in steps of size
  for (uint32_t i = 0; i < profile.place_count; ++i) {
    const uint32_t start = profile.places[i];
    if (start < after || !place_free(shared, gpu, start, profile.place_size)) continue;
    ++places;
    after = start + profile.place_size;
  }
  const uint32_t by_count = profile.max_instances > have ? profile.max_instances - have : 0;
  const uint32_t by_slices =
      table->max_devices > slices ? (table->max_devices - slices) / profile.slices : 0;
  return std::min({places, by_count, by_slices});
}

uint32_t set_mig_mode(Shared& shared, uint32_t gpu, bool enabled) {
  if (!shared.machine.gpus[gpu].mig_table) return kUnsupported;
  for (const GpuInstanceState& gi : shared.mig[gpu])
    if (gi.used && !enabled) return kInUse;
  for (const Process& p : shared.processes)
    if (p.used && p.gpu == gpu && enabled && !shared.live[gpu].mig_mode) return kInUse;
  shared.live[gpu].mig_mode = shared.live[gpu].mig_pending = enabled;
  return kOk;
}

uint32_t compute_profile_of(uint32_t slices) {
  for (uint32_t profile = 0; profile < 7; ++profile)
    if (compute_profile_slices(profile) == slices) return profile;
  return kNone;
}

std::string mig_uuid(const GpuSpec& spec, const GpuInstanceState& gi,
                     const ComputeInstanceState& ci) {
  return make_uuid("MIG", hash_text(spec.uuid, gi.id * 64ULL + ci.id),
                   static_cast<uint64_t>(gi.generation) << 32 | ci.generation);
}

bool mig_device_at(const Shared& shared, uint32_t gpu, uint32_t index, uint32_t& gi, uint32_t& ci) {
  uint32_t at = 0;
  for (const GpuInstanceState& g : shared.mig[gpu]) {
    if (!g.used) continue;
    for (const ComputeInstanceState& c : g.compute) {
      if (!c.used || at++ != index) continue;
      gi = g.id;
      ci = c.id;
      return true;
    }
  }
  return false;
}

}  // namespace nvmlsim
