// Enumeration and identity: count, handles, names, PCI, topology.

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <string>

#include "abi_extra.h"
#include "library.h"
#include "mig.h"

using namespace nvmlsim;

namespace {

Return call(const char* symbol, const void* pointer) {
  const Return rc = enter(symbol);
  if (rc != kSuccess) return rc;
  return pointer ? kSuccess : kErrorInvalidArgument;
}

Return handle_of(const char* symbol, uint32_t gpu, Device* device) {
  const Return rc = call_faults(symbol, gpu);
  if (rc != kSuccess) return rc;
  Effects fx;
  store().read([&](const Shared& shared) { fx = effects_on(shared, gpu, now_ns()); });
  if (fx.vanished) return kErrorNotFound;
  if (fx.lost) return kErrorGpuIsLost;
  *device = gpu_handle(gpu);
  return *device ? kSuccess : kErrorMemory;
}

Return count_gpus(const char* symbol, u32* count) {
  Return rc = call(symbol, count);
  if (rc == kSuccess) rc = call_faults(symbol, kNone);
  if (rc != kSuccess) return rc;
  uint32_t list[kMaxGpus];
  return give(count, visible_gpus(list));
}

Return by_index(const char* symbol, u32 index, Device* device) {
  const Return rc = call(symbol, device);
  if (rc != kSuccess) return rc;
  uint32_t list[kMaxGpus];
  if (index >= visible_gpus(list)) return kErrorInvalidArgument;
  return handle_of(symbol, list[index], device);
}

Return by_bus_id(const char* symbol, const char* text, Device* device) {
  const Return rc = call(symbol, text && device ? text : nullptr);
  if (rc != kSuccess) return rc;
  BusId id{};
  if (!parse_bus_id(text, id)) return kErrorInvalidArgument;
  for (uint32_t i = 0; i < machine().gpu_count; ++i) {
    const BusId& own = machine().gpus[i].bus_id;
    if (own.domain == id.domain && own.bus == id.bus && own.device == id.device)
      return handle_of(symbol, i, device);
  }
  return kErrorNotFound;
}

struct MigMatch {
  uint32_t gpu;
  GpuInstanceState gi;
  ComputeInstanceState ci;
  bool found;
};

MigMatch find_mig_uuid(const std::string& uuid) {
  MigMatch match{};
  store().read([&](const Shared& shared) {
    match.found = false;
    for (uint32_t g = 0; g < shared.machine.gpu_count && g < kMaxGpus; ++g)
      for (const GpuInstanceState& gi : shared.mig[g])
        for (const ComputeInstanceState& ci : gi.compute)
          if (gi.used && ci.used && mig_uuid(shared.machine.gpus[g], gi, ci) == uuid)
            match = {g, gi, ci, true};
  });
  return match;
}

Return by_uuid(const char* symbol, const char* uuid, Device* device) {
  const Return rc = call(symbol, uuid && device ? uuid : nullptr);
  if (rc != kSuccess) return rc;
  for (uint32_t i = 0; i < machine().gpu_count; ++i)
    if (!std::strcmp(machine().gpus[i].uuid, uuid)) return handle_of(symbol, i, device);
  if (std::strncmp(uuid, "MIG-", 4) == 0) {
    const MigMatch match = find_mig_uuid(uuid);
    if (match.found) {
      const Return lost = handle_of(symbol, match.gpu, device);
      if (lost != kSuccess) return lost;
      *device = mig_handle(match.gpu, match.gi, match.ci);
      return *device ? kSuccess : kErrorMemory;
    }
  }
  return kErrorNotFound;
}

const GpuInstanceState* instance_of(const Shared& shared, const View& view) {
  return find_gpu_instance(shared, view.gpu, view.handle->gi);
}

void fill_pci(const BusId& id, uint32_t pci_id, uint32_t subsystem, PciInfo* out) {
  std::memset(out, 0, sizeof(*out));
  char text[40];
  std::snprintf(text, sizeof(text), "%04X:%02X:%02X.0", id.domain & 0xFFFFU, id.bus, id.device);
  std::memcpy(out->bus_id_legacy, text, sizeof(out->bus_id_legacy) - 1);
  std::memcpy(out->bus_id, bus_id_text(id).c_str(), bus_id_text(id).size());
  out->domain = id.domain;
  out->bus = id.bus;
  out->device = id.device;
  out->pci_device_id = pci_id;
  out->pci_subsystem_id = subsystem;
}

template <std::size_t N>
Return text_of(const char* symbol, Device device, char* out, u32 length,
               char (GpuSpec::*member)[N]) {
  return on_gpu(symbol, device, {out}, [&](const View& v) {
    const char* text = v.spec->*member;
    return text[0] ? copy_text(text, out, length) : kErrorNotSupported;
  });
}

Return number_of(const char* symbol, Device device, u32* out, u32 GpuSpec::* member) {
  return on_gpu(symbol, device, {out}, [&](const View& v) {
    return v.spec->*member ? give(out, v.spec->*member) : kErrorNotSupported;
  });
}

}  // namespace

SIM_API Return nvmlDeviceGetCount_v2(u32* count) { return count_gpus(__func__, count); }
SIM_API Return nvmlDeviceGetCount(u32* count) { return count_gpus(__func__, count); }

SIM_API Return nvmlDeviceGetHandleByIndex_v2(u32 index, Device* device) {
  return by_index(__func__, index, device);
}
SIM_API Return nvmlDeviceGetHandleByIndex(u32 index, Device* device) {
  return by_index(__func__, index, device);
}
SIM_API Return nvmlDeviceGetHandleByUUID(const char* uuid, Device* device) {
  return by_uuid(__func__, uuid, device);
}
SIM_API Return nvmlDeviceGetHandleByUUIDV(const UuidRequest* uuid, Device* device) {
  const Return rc = call(__func__, uuid && device ? uuid : nullptr);
  if (rc != kSuccess) return rc;
  if (uuid->version != version_word<UuidRequest>(1)) return kErrorArgumentVersionMismatch;
  if (uuid->type != 1) return kErrorNotSupported;  // 1: text, 2: binary
  char text[42] = {};
  std::memcpy(text, uuid->value, 41);
  return by_uuid(__func__, text, device);
}
SIM_API Return nvmlDeviceGetHandleByPciBusId_v2(const char* id, Device* device) {
  return by_bus_id(__func__, id, device);
}
SIM_API Return nvmlDeviceGetHandleByPciBusId(const char* id, Device* device) {
  return by_bus_id(__func__, id, device);
}
SIM_API Return nvmlDeviceGetHandleBySerial(const char* serial, Device* device) {
  const Return rc = call(__func__, serial && device ? serial : nullptr);
  if (rc != kSuccess) return rc;
  for (uint32_t i = 0; i < machine().gpu_count; ++i)
    if (serial[0] && !std::strcmp(machine().gpus[i].serial, serial))
      return handle_of(__func__, i, device);
  return kErrorNotFound;
}

SIM_API Return nvmlDeviceGetName(Device device, char* name, u32 length) {
  return on_device(__func__, device, {name}, kMigToo, [&](const View& v) {
    if (!v.is_mig()) return copy_text(v.spec->name, name, length);
    const MigTable* table = mig_table(v.spec->mig_table);
    std::string text = v.spec->name;
    store().read([&](const Shared& shared) {
      text = v.spec->name;
      const GpuInstanceState* gi = instance_of(shared, v);
      const MigProfile* profile = table && gi ? find_profile(*table, gi->profile) : nullptr;
      if (profile) text += std::string(" MIG ") + profile->name;
    });
    return copy_text(text.c_str(), name, length);
  });
}

SIM_API Return nvmlDeviceGetUUID(Device device, char* uuid, u32 length) {
  return on_device(__func__, device, {uuid}, kMigToo, [&](const View& v) {
    if (!v.is_mig()) return copy_text(v.spec->uuid, uuid, length);
    std::string text;
    store().read([&](const Shared& shared) {
      const GpuInstanceState* gi = instance_of(shared, v);
      const ComputeInstanceState* ci = gi ? find_compute_instance(*gi, v.handle->ci) : nullptr;
      text = ci ? mig_uuid(*v.spec, *gi, *ci) : "";
    });
    return text.empty() ? kErrorInvalidArgument : copy_text(text.c_str(), uuid, length);
  });
}

SIM_API Return nvmlDeviceGetIndex(Device device, u32* index) {
  return on_device(__func__, device, {index}, kMigToo, [&](const View& v) {
    if (v.is_mig()) {
      uint32_t at = 0, gi = 0, ci = 0;
      bool found = false;
      store().read([&](const Shared& shared) {
        found = false;
        for (at = 0; mig_device_at(shared, v.gpu, at, gi, ci); ++at)
          if ((found = gi == v.handle->gi && ci == v.handle->ci)) return;
      });
      return found ? give(index, at) : kErrorInvalidArgument;
    }
    uint32_t list[kMaxGpus];
    const uint32_t count = visible_gpus(list);
    for (uint32_t i = 0; i < count; ++i)
      if (list[i] == v.gpu) return give(index, i);
    return kErrorNotFound;
  });
}

SIM_API Return nvmlDeviceGetMinorNumber(Device device, u32* minor) {
  return on_gpu(__func__, device, {minor},
                [&](const View& v) { return give(minor, v.live.minor); });
}
SIM_API Return nvmlDeviceGetBoardId(Device device, u32* id) {
  return on_gpu(__func__, device, {id}, [&](const View& v) {
    return give(id, v.spec->bus_id.domain << 16 | v.spec->bus_id.bus << 8);
  });
}
SIM_API Return nvmlDeviceGetModuleId(Device device, u32* id) {
  return number_of(__func__, device, id, &GpuSpec::module_id);
}
SIM_API Return nvmlDeviceGetNumGpuCores(Device device, u32* cores) {
  return number_of(__func__, device, cores, &GpuSpec::core_count);
}
SIM_API Return nvmlDeviceGetMemoryBusWidth(Device device, u32* bits) {
  return number_of(__func__, device, bits, &GpuSpec::memory_bus_width);
}
SIM_API Return nvmlDeviceGetBrand(Device device, u32* brand) {
  return on_gpu(__func__, device, {brand},
                [&](const View& v) { return give(brand, v.spec->brand); });
}
SIM_API Return nvmlDeviceGetArchitecture(Device device, u32* architecture) {
  return on_gpu(__func__, device, {architecture},
                [&](const View& v) { return give(architecture, v.spec->architecture); });
}
SIM_API Return nvmlDeviceGetCudaComputeCapability(Device device, int* major, int* minor) {
  return on_device(__func__, device, {major, minor}, kMigToo, [&](const View& v) {
    *major = static_cast<int>(v.spec->cc_major);
    return give(minor, v.spec->cc_minor);
  });
}

SIM_API Return nvmlDeviceGetSerial(Device device, char* serial, u32 length) {
  return text_of(__func__, device, serial, length, &GpuSpec::serial);
}
SIM_API Return nvmlDeviceGetBoardPartNumber(Device device, char* part, u32 length) {
  return text_of(__func__, device, part, length, &GpuSpec::part_number);
}
SIM_API Return nvmlDeviceGetVbiosVersion(Device device, char* version, u32 length) {
  return text_of(__func__, device, version, length, &GpuSpec::vbios);
}
SIM_API Return nvmlDeviceGetInforomImageVersion(Device device, char* version, u32 length) {
  return text_of(__func__, device, version, length, &GpuSpec::inforom_image);
}
SIM_API Return nvmlDeviceGetInforomVersion(Device device, u32 object, char* version, u32 length) {
  return on_gpu(__func__, device, {version}, [&](const View& v) {
    const char* const texts[] = {v.spec->inforom_oem, v.spec->inforom_ecc, v.spec->inforom_power};
    if (object >= 3) return kErrorInvalidArgument;
    return texts[object][0] ? copy_text(texts[object], version, length) : kErrorNotSupported;
  });
}

SIM_API Return nvmlDeviceGetPciInfo_v3(Device device, PciInfo* pci) {
  return on_gpu(__func__, device, {pci}, [&](const View& v) {
    fill_pci(v.spec->bus_id, v.spec->pci_id, v.spec->subsystem_id, pci);
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetPciInfo_v2(Device device, PciInfoV2* pci) {
  return on_gpu(__func__, device, {pci}, [&](const View& v) {
    PciInfo full;
    fill_pci(v.spec->bus_id, v.spec->pci_id, v.spec->subsystem_id, &full);
    std::memcpy(pci, &full, sizeof(*pci));
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetPciInfo(Device device, PciInfoV1* pci) {
  return on_gpu(__func__, device, {pci}, [&](const View& v) {
    PciInfo full;
    fill_pci(v.spec->bus_id, v.spec->pci_id, 0, &full);
    std::memcpy(pci, &full, sizeof(*pci));
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetPciInfoExt(Device device, PciInfoExt* pci) {
  return on_gpu(__func__, device, {pci}, [&](const View& v) {
    if (pci->version != version_word<PciInfoExt>(1)) return kErrorArgumentVersionMismatch;
    PciInfo full;
    fill_pci(v.spec->bus_id, v.spec->pci_id, v.spec->subsystem_id, &full);
    *pci = {pci->version,
            full.domain,
            full.bus,
            full.device,
            full.pci_device_id,
            full.pci_subsystem_id,
            3,
            v.spec->brand == kBrandGeforce ? 0U : 2U,
            {}};
    std::memcpy(pci->bus_id, full.bus_id, sizeof(pci->bus_id));
    return kSuccess;
  });
}

SIM_API Return nvmlDeviceGetMultiGpuBoard(Device device, u32* multi) {
  return on_gpu(__func__, device, {multi}, [&](const View&) { return give(multi, 0); });
}
SIM_API Return nvmlDeviceOnSameBoard(Device one, Device two, int* same) {
  return on_gpu(__func__, one, {same}, [&](const View& a) {
    return on_gpu(__func__, two, {same}, [&](const View& b) { return give(same, a.gpu == b.gpu); });
  });
}
SIM_API Return nvmlDeviceGetVirtualizationMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode},
                [&](const View& v) { return give(mode, v.spec->virtualization); });
}
SIM_API Return nvmlDeviceGetAddressingMode(Device device, DeviceAddressingMode* mode) {
  return on_gpu(__func__, device, {mode}, [&](const View& v) {
    if (mode->version != version_word<DeviceAddressingMode>(1))
      return kErrorArgumentVersionMismatch;
    return v.spec->addressing_supported ? give(&mode->value, v.spec->addressing)
                                        : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetDisplayMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode}, [&](const View&) { return give(mode, 0); });
}
SIM_API Return nvmlDeviceGetDisplayActive(Device device, u32* active) {
  return on_gpu(__func__, device, {active}, [&](const View&) { return give(active, 0); });
}
SIM_API Return nvmlDeviceGetPlatformInfo(Device device, PlatformInfo* info) {
  return on_gpu(__func__, device, {info}, [&](const View& v) {
    if (info->version != version_word<PlatformInfo>(1) &&
        info->version != version_word<PlatformInfo>(2))
      return kErrorArgumentVersionMismatch;
    if (!v.spec->module_id) return kErrorNotSupported;
    const u32 version = info->version;
    std::memset(info, 0, sizeof(*info));
    info->version = version;
    info->module_id = static_cast<u8>(v.spec->module_id);
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetCapabilities(Device device, Capabilities* out) {
  return on_gpu(__func__, device, {out}, [&](const View&) {
    if (out->version != version_word<Capabilities>(1)) return kErrorArgumentVersionMismatch;
    return give(&out->mask, 0);
  });
}
