// NVLink and the NVSwitch fabric.

#include <cstdio>
#include <cstring>

#include "abi_extra.h"
#include "links.h"

using namespace nvmlsim;

namespace {

template <typename F>
Return on_link(const char* symbol, Device device, u32 link, std::initializer_list<const void*> out,
               F&& f) {
  return on_gpu(symbol, device, out, [&](const View& v) {
    if (link >= kNvLinkMaxLinks) return kErrorInvalidArgument;
    if (v.spec->link_count == 0) return kErrorNotSupported;
    if (link >= v.spec->link_count) return kErrorInvalidArgument;
    return f(v);
  });
}

void remote_pci(const Link& link, PciInfo* out) {
  const Machine& m = machine();
  const bool is_switch = link.remote_type == kNvLinkToSwitch;
  const BusId id = is_switch ? m.switches[link.peer].bus_id : m.gpus[link.peer].bus_id;
  std::memset(out, 0, sizeof(*out));
  char text[40];
  std::snprintf(text, sizeof(text), "%04X:%02X:%02X.0", id.domain & 0xFFFFU, id.bus, id.device);
  std::memcpy(out->bus_id_legacy, text, sizeof(out->bus_id_legacy) - 1);
  const std::string full = bus_id_text(id);
  std::memcpy(out->bus_id, full.c_str(), full.size());
  out->domain = id.domain;
  out->bus = id.bus;
  out->device = id.device;
  out->pci_device_id = is_switch ? m.switches[link.peer].pci_id : m.gpus[link.peer].pci_id;
}

struct Fabric {
  u32 state, status, clique;
};

Fabric fabric_of(const View& v) {
  Fabric f{v.spec->fabric_state, 0, v.spec->fabric_clique};
  if (v.fx.has_fabric) f = {v.fx.fabric_state, v.fx.fabric_status, v.spec->fabric_clique};
  return f;
}

template <typename Info>
void fill_fabric(const View& v, Info* out) {
  const Fabric f = fabric_of(v);
  std::memcpy(out->cluster_uuid, v.spec->fabric_cluster, sizeof(out->cluster_uuid));
  out->status = f.status;
  out->clique_id = f.clique;
  out->state = static_cast<u8>(f.state);
}

}  // namespace

SIM_API Return nvmlDeviceGetNvLinkState(Device device, u32 link, u32* active) {
  return on_link(__func__, device, link, {active},
                 [&](const View& v) { return give(active, link_up(v, link)); });
}
SIM_API Return nvmlDeviceGetNvLinkVersion(Device device, u32 link, u32* version) {
  return on_link(__func__, device, link, {version},
                 [&](const View& v) { return give(version, v.spec->link_version); });
}
SIM_API Return nvmlDeviceGetNvLinkCapability(Device device, u32 link, u32 capability, u32* result) {
  return on_link(__func__, device, link, {result}, [&](const View&) {
    if (capability > 5) return kErrorInvalidArgument;
    return give(result, capability == 4 ? 0 : 1);
  });
}
SIM_API Return nvmlDeviceGetNvLinkRemotePciInfo_v2(Device device, u32 link, PciInfo* pci) {
  return on_link(__func__, device, link, {pci}, [&](const View& v) {
    remote_pci(v.spec->links[link], pci);
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetNvLinkRemotePciInfo(Device device, u32 link, PciInfoV2* pci) {
  return on_link(__func__, device, link, {pci}, [&](const View& v) {
    PciInfo full;
    remote_pci(v.spec->links[link], &full);
    std::memcpy(pci, &full, sizeof(*pci));
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetNvLinkRemoteDeviceType(Device device, u32 link, u32* type) {
  return on_link(__func__, device, link, {type},
                 [&](const View& v) { return give(type, v.spec->links[link].remote_type); });
}
SIM_API Return nvmlDeviceGetNvLinkErrorCounter(Device device, u32 link, u32 counter, u64* value) {
  return on_link(__func__, device, link, {value}, [&](const View& v) {
    if (counter > 4) return kErrorInvalidArgument;
    return give(value, v.live.link_errors[link][counter]);
  });
}
SIM_API Return nvmlDeviceResetNvLinkErrorCounters(Device device, u32 link) {
  return on_link(__func__, device, link, {device}, [&](const View& v) {
    return mutate([&](Shared& shared) {
      std::memset(shared.live[v.gpu].link_errors[link], 0, sizeof(u64) * 5);
      return kSuccess;
    });
  });
}

SIM_API Return nvmlDeviceGetGpuFabricInfo(Device device, GpuFabricInfo* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (!v.spec->fabric) return kErrorNotSupported;
    fill_fabric(v, out);
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetGpuFabricInfoV(Device device, GpuFabricInfoV2* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    const bool v3 = out->version == version_word<GpuFabricInfoV3>(3);
    if (!v3 && out->version != version_word<GpuFabricInfoV2>(2))
      return kErrorArgumentVersionMismatch;
    if (!v.spec->fabric) return kErrorNotSupported;
    fill_fabric(v, out);
    out->health_mask = 0;
    if (v3) reinterpret_cast<GpuFabricInfoV3*>(out)->health_summary = 1;  // healthy
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetC2cModeInfoV(Device device, u32* info) {
  return on_gpu(__func__, device, {info}, [&](const View&) { return kErrorNotSupported; });
}
