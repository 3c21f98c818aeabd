// Where a GPU sits: NUMA node, CPU affinity, the way to another GPU, PCIe link.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "abi_extra.h"
#include "library.h"

using namespace nvmlsim;

namespace {

uint32_t topology_level(const GpuSpec& a, const GpuSpec& b) {
  if (a.pcie_switch != kNone && a.pcie_switch == b.pcie_switch) return kTopologySingleSwitch;
  if (a.root != kNone && a.root == b.root) return kTopologyHostBridge;
  if (a.numa == b.numa) return kTopologyNode;
  return kTopologySystem;
}

bool linked(const GpuSpec& a, uint32_t peer, const GpuSpec& b) {
  for (uint32_t i = 0; i < a.link_count; ++i) {
    if (a.links[i].remote_type == kNvLinkToGpu && a.links[i].peer == peer) return true;
    if (a.links[i].remote_type != kNvLinkToSwitch) continue;
    for (uint32_t k = 0; k < b.link_count; ++k)
      if (b.links[k].remote_type == kNvLinkToSwitch) return true;
  }
  return false;
}

// "0-55,112-167" into the bits that fit.
void fill_cpus(const char* list, unsigned long* set, u32 words) {
  std::memset(set, 0, words * sizeof(unsigned long));
  for (const char* at = list; *at;) {
    char* end = nullptr;
    const unsigned long first = std::strtoul(at, &end, 10);
    if (end == at) return;
    const unsigned long last = *end == '-' ? std::strtoul(end + 1, &end, 10) : first;
    for (unsigned long cpu = first; cpu <= last && cpu < words * 64UL; ++cpu)
      set[cpu / 64] |= 1UL << (cpu % 64);
    if (*end != ',') return;
    at = end + 1;
  }
}

Return cpu_affinity(const char* symbol, Device device, u32 size, unsigned long* set) {
  return on_gpu(symbol, device, {set}, [&](const View& v) {
    if (size == 0) return kErrorInvalidArgument;
    if (!v.spec->cpus[0]) return kErrorNotSupported;
    fill_cpus(v.spec->cpus, set, size);
    return kSuccess;
  });
}

Return memory_affinity(const char* symbol, Device device, u32 size, unsigned long* set) {
  return on_gpu(symbol, device, {set}, [&](const View& v) {
    if (size == 0) return kErrorInvalidArgument;
    if (v.spec->numa == kNone) return kErrorNotSupported;
    std::memset(set, 0, size * sizeof(unsigned long));
    if (v.spec->numa < size * 64) set[v.spec->numa / 64] |= 1UL << (v.spec->numa % 64);
    return kSuccess;
  });
}

Return pcie(const char* symbol, Device device, u32* out, u32 GpuSpec::* member) {
  return on_gpu(symbol, device, {out}, [&](const View& v) {
    return v.spec->*member ? give(out, v.spec->*member) : kErrorNotSupported;
  });
}

}  // namespace

SIM_API Return nvmlDeviceGetTopologyCommonAncestor(Device one, Device two, u32* level) {
  return on_gpu(__func__, one, {level}, [&](const View& a) {
    return on_gpu(__func__, two, {level}, [&](const View& b) {
      if (a.gpu == b.gpu) return give(level, u32{kTopologyInternal});
      return give(level, topology_level(*a.spec, *b.spec));
    });
  });
}

SIM_API Return nvmlDeviceGetTopologyNearestGpus(Device device, u32 level, u32* count,
                                                Device* list) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    uint32_t found = 0;
    uint32_t near[kMaxGpus], visible[kMaxGpus];
    const uint32_t total = visible_gpus(visible);
    for (uint32_t i = 0; i < total; ++i)
      if (visible[i] != v.gpu && topology_level(*v.spec, machine().gpus[visible[i]]) == level)
        near[found++] = visible[i];
    const uint32_t room = *count;
    *count = found;
    if (room < found || (found && !list)) return kErrorInsufficientSize;
    for (uint32_t i = 0; i < found; ++i) list[i] = gpu_handle(near[i]);
    return kSuccess;
  });
}

SIM_API Return nvmlDeviceGetP2PStatus(Device one, Device two, u32 index, u32* status) {
  return on_gpu(__func__, one, {status}, [&](const View& a) {
    return on_gpu(__func__, two, {status}, [&](const View& b) {
      if (index > 4) return kErrorInvalidArgument;
      const bool nvlink = linked(*a.spec, b.gpu, *b.spec);
      const bool ok = index == 2 ? nvlink : nvlink || !machine().no_p2p;
      return give(status, ok ? 0 : 5);
    });
  });
}

SIM_API Return nvmlDeviceGetNumaNodeId(Device device, u32* node) {
  return on_gpu(__func__, device, {node}, [&](const View& v) {
    return v.spec->numa == kNone ? kErrorNotSupported : give(node, v.spec->numa);
  });
}
SIM_API Return nvmlDeviceGetCpuAffinity(Device device, u32 size, unsigned long* set) {
  return cpu_affinity(__func__, device, size, set);
}
SIM_API Return nvmlDeviceGetCpuAffinityWithinScope(Device device, u32 size, unsigned long* set,
                                                   u32 scope) {
  if (scope > 1) return kErrorInvalidArgument;
  return cpu_affinity(__func__, device, size, set);
}
SIM_API Return nvmlDeviceGetMemoryAffinity(Device device, u32 size, unsigned long* set, u32 scope) {
  if (scope > 1) return kErrorInvalidArgument;
  return memory_affinity(__func__, device, size, set);
}

SIM_API Return nvmlDeviceGetCurrPcieLinkGeneration(Device device, u32* gen) {
  return pcie(__func__, device, gen, &GpuSpec::pcie_gen_now);
}
SIM_API Return nvmlDeviceGetMaxPcieLinkGeneration(Device device, u32* gen) {
  return pcie(__func__, device, gen, &GpuSpec::pcie_gen);
}
SIM_API Return nvmlDeviceGetGpuMaxPcieLinkGeneration(Device device, u32* gen) {
  return pcie(__func__, device, gen, &GpuSpec::pcie_gen);
}
SIM_API Return nvmlDeviceGetCurrPcieLinkWidth(Device device, u32* width) {
  return pcie(__func__, device, width, &GpuSpec::pcie_width);
}
SIM_API Return nvmlDeviceGetMaxPcieLinkWidth(Device device, u32* width) {
  return pcie(__func__, device, width, &GpuSpec::pcie_width);
}
SIM_API Return nvmlDeviceGetPcieSpeed(Device device, u32* mbps) {
  return on_gpu(__func__, device, {mbps}, [&](const View& v) {
    constexpr u32 kSpeeds[] = {0, 2500, 5000, 8000, 16000, 32000, 64000};
    return v.spec->pcie_gen_now ? give(mbps, kSpeeds[std::min(v.spec->pcie_gen_now, 6U)])
                                : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetPcieThroughput(Device device, u32 counter, u32* kbps) {
  return on_gpu(__func__, device, {kbps}, [&](const View& v) {
    if (counter > 1) return kErrorInvalidArgument;
    return give(kbps, v.read().load_pct * (counter ? 9000U : 4000U));
  });
}
SIM_API Return nvmlDeviceGetPcieReplayCounter(Device device, u32* value) {
  return on_gpu(__func__, device, {value},
                [&](const View& v) { return give(value, v.live.pcie_replays); });
}
