// What the boards that can be partitioned offer: GPU instance profiles with sizes, engines and
// places. Figures are those of real boards where known (docs/simulator.md names the doubtful ones).
#pragma once

#include <cstdint>

namespace nvmlsim {

struct MigProfile {
  uint32_t profile;  // NVML's enumeration: what GetGpuInstanceProfileInfo takes
  uint32_t id;       // what nvidia-smi prints and the create call takes
  const char* name;
  uint32_t slices, max_instances, memory_mib, sms, copy, decoders, encoders, jpeg, ofa;
  uint32_t place_size;
  uint32_t place_count;
  uint32_t places[7];
};

struct MigTable {
  const char* name;  // as a machine file says it
  uint32_t max_devices;
  uint32_t memory_slices;
  uint32_t sms_per_slice;
  uint32_t profile_count;
  MigProfile profiles[7];
};

// Table `index` as stored in GpuSpec::mig_table, nullptr for 0 or an unknown one.
const MigTable* mig_table(uint32_t index);
// Index by name, 0 if there is none.
uint32_t find_mig_table(const char* name);
const MigProfile* find_profile(const MigTable& table, uint32_t profile);
const MigProfile* find_profile_by_id(const MigTable& table, uint32_t id);
const MigProfile* find_profile_by_name(const MigTable& table, const char* name);
// Slices of a compute instance profile of NVML's enumeration, 0 if there is no such profile.
uint32_t compute_profile_slices(uint32_t profile);

}  // namespace nvmlsim
