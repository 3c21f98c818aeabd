// What all processes on one simulated machine share: the machine as declared, its live state, the
// injected faults and the event ring, laid out as plain data in one memory-mapped file.
//
// Nothing here points anywhere and every index is bounded, so a reader that meets a half-written
// record gets wrong numbers for a moment, never a crash. Layout changes bump kLayout, which is part
// of the file's name: two builds never share a file they read differently.
#pragma once

#include <cstdint>

namespace nvmlsim {

using std::int32_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

inline constexpr uint32_t kLayout = 1;
inline constexpr uint32_t kMaxGpus = 32;
inline constexpr uint32_t kMaxSwitches = 16;
inline constexpr uint32_t kMaxLinks = 36;
inline constexpr uint32_t kMaxGpuInstances = 8;
inline constexpr uint32_t kMaxComputeInstances = 8;
inline constexpr uint32_t kMaxProcesses = 256;
inline constexpr uint32_t kMaxFaults = 64;
inline constexpr uint32_t kMaxEvents = 512;
inline constexpr uint32_t kMaxMissing = 24;
inline constexpr uint32_t kNone = 0xFFFFFFFFU;

struct BusId {
  uint32_t domain, bus, device;
};

// Where one NVLink of a GPU ends.
struct Link {
  uint32_t remote_type;  // NVML's NvLinkDeviceType
  uint32_t peer;         // index of the GPU or of the switch
};

// One GPU as declared. Text is empty and counts are 0 where the card has no such thing.
struct GpuSpec {
  char name[96];
  char uuid[48];
  char serial[32];
  char part_number[32];
  char vbios[32];
  char inforom_image[20], inforom_oem[20], inforom_ecc[20], inforom_power[20];
  char cpus[96];  // as in taskset: 0-55,112-167
  BusId bus_id;
  uint32_t pci_id, subsystem_id;  // device << 16 | vendor
  uint32_t minor, module_id, brand, architecture, cc_major, cc_minor, sm_count, core_count;
  uint32_t memory_mib, reserved_mib, bar1_mib, memory_bus_width;
  uint32_t memory_info;  // 0: unified memory, every memory query is NOT_SUPPORTED
  uint32_t power_limits, power_usage;
  uint32_t power_min_mw, power_max_mw, power_default_mw, power_idle_mw;
  uint32_t clock_sm_max, clock_mem_max, clock_video_max, clock_sm_idle, clock_mem_idle;
  uint32_t temp_shutdown, temp_slowdown, temp_gpu_max, temp_mem_max, temp_idle, temp_load;
  uint32_t temp_margins;  // thresholds only as margins (fields 193-196)
  uint32_t memory_temp;
  uint32_t fans, ecc, page_retirement, row_remapper, remap_banks, gpm, serial_supported;
  uint32_t mig_table;  // index into the MIG tables, 0: not capable
  uint32_t mig_enabled, mig_device_count;
  uint32_t mig_devices[kMaxGpuInstances];  // profiles that exist from the start
  uint32_t persistence, pcie_gen, pcie_width, pcie_gen_now;
  uint32_t numa, baseboard, root, pcie_switch;  // topology: kNone where undeclared
  uint32_t link_count, link_version, link_mbps;
  Link links[kMaxLinks];
  uint32_t fabric;  // 0: not supported
  uint32_t fabric_state, fabric_clique;
  uint8_t fabric_cluster[16];
  uint32_t virtualization, addressing, addressing_supported;
  uint32_t load_pct, memory_used_mib;
  uint64_t seed;
};

struct SwitchSpec {
  BusId bus_id;
  uint32_t pci_id, numa, baseboard;
  char uuid[48];
};

struct MissingSymbol {
  char name[72];
};

struct Machine {
  char name[64];
  char driver[32];
  char nvml[48];
  char architecture[16];
  uint32_t cuda;
  uint32_t driver_loaded;
  uint32_t gpu_count, switch_count, missing_count;
  uint32_t no_p2p;
  uint64_t memory_kib;  // the host's, for its /proc/meminfo
  GpuSpec gpus[kMaxGpus];
  SwitchSpec switches[kMaxSwitches];
  MissingSymbol missing[kMaxMissing];
};

struct ComputeInstanceState {
  uint32_t used, id, profile, start, size, generation;
};

struct GpuInstanceState {
  uint32_t used, id, profile, start, size, generation;  // profile: NVML's enumeration
  ComputeInstanceState compute[kMaxComputeInstances];
};

// What changes on one GPU. Counters are those since the last reset of the driver or the GPU.
struct GpuLive {
  uint32_t generation;  // raised when the GPU comes back: older handles are dead
  uint32_t minor;
  uint32_t power_limit_mw, persistence, compute_mode, mig_mode, mig_pending, ecc_mode, ecc_pending;
  uint32_t locked_sm_min, locked_sm_max, locked_mem_min, locked_mem_max;
  uint32_t load_pct, memory_used_mib;           // beside what the processes do
  uint32_t process_sm_pct, process_memory_mib;  // sums over the processes, kept by the writer
  uint64_t since_ns;         // monotonic time of the last change of load or limit
  uint64_t energy_mj;        // at since_ns
  double temp_c;             // at since_ns
  uint64_t violation_ns[4];  // power, thermal, board, brake; at since_ns
  uint64_t ecc[2][2][8];     // [corrected, uncorrected][volatile, aggregate][location]
  uint64_t remap_corrected, remap_uncorrected;
  uint32_t remap_pending, remap_failed;
  uint64_t retired_single, retired_double;
  uint32_t retired_pending;
  uint32_t recovery_action;
  uint64_t pcie_replays;
  uint64_t link_errors[kMaxLinks][5];
  uint32_t instance_counter;  // makes every MIG instance's UUID its own
};

struct Process {
  uint32_t used, gpu, pid, type;  // type: 'C', 'G' or 'M' (MPS client)
  uint32_t gi, ci;                // kNone outside MIG
  uint32_t memory_mib, sm_pct, memory_pct;
  char name[64];
};

enum class FaultKind : uint32_t {
  kUnused = 0,
  kHang,           // calls matching glob block until cleared or over
  kSlow,           // ... take `value` ms more
  kError,          // ... return `value`, with `probability`
  kLost,           // GPU fell off the bus; value 1: it vanishes from the enumeration
  kDriverAbsent,   // value: what calls on old handles return
  kTemperature,    // value: degrees
  kThrottle,       // mask: clock event reasons
  kLimitDrift,     // value: the limit in force instead of the requested one, mW (0: default)
  kEnforced,       // value: enforced limit lower than the requested one, mW
  kSetterRefusal,  // value: code of SetPowerManagementLimit; 0: success without effect
  kLinkDown,       // mask: links
  kFabricState,    // value: state, extra: status code
  kProcessGrowth,  // value: how many reads of a process list come too late
  kMigBusy,        // value: code that MIG changes return
};

struct Fault {
  uint32_t used, id;
  FaultKind kind;
  uint32_t gpu;  // kNone: all
  char glob[96];
  uint64_t value, extra, mask, seed;
  double probability;
  uint64_t after_calls;       // matching calls of a process that still work
  uint64_t start_ns, end_ns;  // monotonic; end 0: until cleared
};

struct Event {
  uint64_t number;  // counts from 1
  uint32_t gpu, gi, ci, gpu_generation;
  uint64_t type, data;
};

struct Shared {
  char magic[8];
  uint32_t layout, size;
  uint32_t sequence;  // odd while a writer is at work
  uint32_t wake;      // futex word, raised by every change
  uint32_t driver_epoch;
  uint32_t next_fault_id;
  char driver_version[32];
  uint64_t machine_hash;
  uint64_t event_count;
  uint64_t created_ns;
  uint32_t fault_count;
  uint32_t mig_lock;
  GpuLive live[kMaxGpus];
  GpuInstanceState mig[kMaxGpus][kMaxGpuInstances];
  Process processes[kMaxProcesses];
  Fault faults[kMaxFaults];
  Event events[kMaxEvents];
  Machine machine;
};

}  // namespace nvmlsim
