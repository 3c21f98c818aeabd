// Multi-instance GPU: creating and destroying GPU and compute instances under the board's placement
// rules. All functions work on the shared state inside a write and return NVML's codes.
#pragma once

#include <cstdint>
#include <string>

#include "mig_table.h"
#include "shared.h"

namespace nvmlsim {

const GpuInstanceState* find_gpu_instance(const Shared& shared, uint32_t gpu, uint32_t id);
const ComputeInstanceState* find_compute_instance(const GpuInstanceState& gi, uint32_t id);

// `start` kNone: the lowest free place. Codes: 0, 2, 3 (no MIG), 23 (no room).
uint32_t create_gpu_instance(Shared& shared, uint32_t gpu, const MigProfile& profile,
                             uint32_t start, uint32_t& id);
uint32_t destroy_gpu_instance(Shared& shared, uint32_t gpu, uint32_t id);  // 19 while in use
uint32_t create_compute_instance(Shared& shared, uint32_t gpu, uint32_t gi, uint32_t profile,
                                 uint32_t start, uint32_t& id);
uint32_t destroy_compute_instance(Shared& shared, uint32_t gpu, uint32_t gi, uint32_t ci);
// A GPU instance with one compute instance over all of it; what `devices:` and the tool make.
uint32_t create_full_device(Shared& shared, uint32_t gpu, uint32_t profile);
// How many more instances of the profile fit now.
uint32_t remaining_capacity(const Shared& shared, uint32_t gpu, const MigProfile& profile);
uint32_t set_mig_mode(Shared& shared, uint32_t gpu, bool enabled);  // 19 while instances exist

// NVML's enumeration of the compute profile with `slices`, kNone if there is none.
uint32_t compute_profile_of(uint32_t slices);
std::string mig_uuid(const GpuSpec& spec, const GpuInstanceState& gi,
                     const ComputeInstanceState& ci);
// MIG devices are numbered over GPU instances, then compute instances, as they are found.
bool mig_device_at(const Shared& shared, uint32_t gpu, uint32_t index, uint32_t& gi, uint32_t& ci);

}  // namespace nvmlsim
