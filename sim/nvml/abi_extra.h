// Structures of NVML that the simulator answers and nobody in kerf asks for: older layouts and the
// newer request structures. Same rules as src/nvml/abi.h.
#pragma once

#include <cstdint>

#include "src/nvml/abi.h"

namespace kerf::nvml::abi {

struct PciInfoV1 {  // before the 32-byte bus id: 36 bytes
  char bus_id_legacy[16];
  u32 domain, bus, device, pci_device_id;
};
struct PciInfoV2 {
  char bus_id_legacy[16];
  u32 domain, bus, device, pci_device_id, pci_subsystem_id;
};
struct PciInfoExt {
  u32 version, domain, bus, device, pci_device_id, pci_subsystem_id, base_class, sub_class;
  char bus_id[32];
};
struct EventDataV1 {
  Device device;
  u64 event_type, event_data;
};
struct ProcessInfoV1 {
  u32 pid;
  u64 used_gpu_memory;
};
struct ProcessDetail {
  u32 pid;
  u64 used_gpu_memory;
  u32 gpu_instance_id, compute_instance_id;
  u64 used_cc_protected_memory;
};
struct ProcessDetailList {
  u32 version, mode, count;
  ProcessDetail* entries;
};
struct ProcessUtilizationInfo {
  u64 timestamp;
  u32 pid, sm, memory, encoder, decoder, jpeg, ofa;
};
struct ProcessesUtilizationInfo {
  u32 version, count;
  u64 last_seen;
  ProcessUtilizationInfo* entries;
};
struct EccErrorCounts {
  u64 l1, l2, device_memory, register_file;
};
struct EccSramErrorStatus {
  u32 version;
  u64 agg_unc_parity, agg_unc_secded, agg_cor, vol_unc_parity, vol_unc_secded, vol_cor;
  u64 agg_l2, agg_sm, agg_pcie, agg_mcu, agg_other;
  u32 threshold_exceeded;
};
struct RowRemapperHistogram {
  u32 max, high, partial, low, none;
};
struct RemappedRowsV2 {
  u32 cor_active, cor_inactive, unc_active, unc_inactive, pending, failure;
};
struct Sample {
  u64 timestamp;
  Value value;
};
struct PowerValueV2 {
  u32 version;
  u8 scope;
  u32 milliwatts;
};
struct TemperatureV1 {
  u32 version, sensor;
  std::int32_t temperature;
};
struct MarginTemperature {
  u32 version;
  std::int32_t margin;
};
struct GpuInstanceProfileInfoV3 {
  u32 version, id, slice_count, instance_count, multiprocessor_count, copy_engine_count,
      decoder_count, encoder_count, jpeg_count, ofa_count;
  u64 memory_size_mb;
  char name[96];
  u32 capabilities;
};
struct ComputeInstanceProfileInfoV2 {
  u32 version;
  ComputeInstanceProfileInfo base;
  char name[96];
};
struct ComputeInstanceProfileInfoV3 {
  u32 version;
  ComputeInstanceProfileInfo base;
  char name[96];
  u32 capabilities;
};
struct ComputeInstanceInfoV1 {
  Device device;
  GpuInstance gpu_instance;
  u32 id, profile_id;
};
struct PlatformInfo {
  u32 version;
  u8 ib_guid[16], chassis_serial[16];
  u8 slot, tray, host, peer_type, module_id;
};
struct Capabilities {
  u32 version, mask;
};
struct UuidRequest {
  u32 version, type;
  unsigned char value[41];
};

static_assert(sizeof(PciInfoV1) == 32 && sizeof(PciInfoV2) == 36 && sizeof(PciInfoExt) == 64);
static_assert(sizeof(EventDataV1) == 24 && sizeof(ProcessInfoV1) == 16);
static_assert(sizeof(ProcessDetail) == 32 && sizeof(ProcessDetailList) == 24);
static_assert(sizeof(ProcessUtilizationInfo) == 40);
static_assert(sizeof(ProcessesUtilizationInfo) == 24 && sizeof(EccErrorCounts) == 32);
static_assert(sizeof(EccSramErrorStatus) == 104 && sizeof(RowRemapperHistogram) == 20);
static_assert(sizeof(RemappedRowsV2) == 24 && sizeof(Sample) == 16);
static_assert(sizeof(PowerValueV2) == 12 && offsetof(PowerValueV2, milliwatts) == 8);
static_assert(sizeof(TemperatureV1) == 12 && sizeof(MarginTemperature) == 8);
static_assert(sizeof(GpuInstanceProfileInfoV3) == 152 &&
              offsetof(GpuInstanceProfileInfoV3, memory_size_mb) == 40 &&
              offsetof(GpuInstanceProfileInfoV3, capabilities) == 144);
static_assert(sizeof(ComputeInstanceProfileInfoV2) == 136 &&
              sizeof(ComputeInstanceProfileInfoV3) == 140 && sizeof(ComputeInstanceInfoV1) == 24);
static_assert(sizeof(PlatformInfo) == 44 && sizeof(UuidRequest) == 52);

}  // namespace kerf::nvml::abi
