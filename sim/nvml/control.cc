#include "control.h"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "dynamics.h"
#include "mig.h"

namespace nvmlsim {
namespace {

constexpr uint64_t kSbe = 0x1, kDbe = 0x2, kXid = 0x8, kStorm = 0x200, kDramRetired = 0x400,
                   kRetireFailed = 0x800, kUnavailable = 0x4000, kRecovery = 0x8000;
constexpr uint32_t kDram = 2;

constexpr std::pair<FaultKind, const char*> kKinds[] = {
    {FaultKind::kHang, "hang"},
    {FaultKind::kSlow, "slow"},
    {FaultKind::kError, "error"},
    {FaultKind::kLost, "lost"},
    {FaultKind::kDriverAbsent, "driver"},
    {FaultKind::kTemperature, "temperature"},
    {FaultKind::kThrottle, "throttle"},
    {FaultKind::kLimitDrift, "limit-drift"},
    {FaultKind::kEnforced, "enforced-limit"},
    {FaultKind::kSetterRefusal, "setter"},
    {FaultKind::kLinkDown, "nvlink-down"},
    {FaultKind::kFabricState, "fabric"},
    {FaultKind::kProcessGrowth, "process-growth"},
    {FaultKind::kMigBusy, "mig"},
};

Fault plain(FaultKind kind, uint32_t gpu, uint64_t value = 0) {
  Fault fault{};
  fault.kind = kind;
  fault.gpu = gpu;
  fault.value = value;
  fault.probability = 1;
  return fault;
}

void need_reset(Shared& shared, uint32_t gpu) {
  shared.live[gpu].recovery_action = 1;
  if (shared.machine.gpus[gpu].architecture >= 9) push_event(shared, gpu, kRecovery, 1);
}

void remap_row(Shared& shared, uint32_t gpu, bool failed) {
  GpuLive& live = shared.live[gpu];
  if (shared.machine.gpus[gpu].page_retirement) {
    live.retired_double += !failed;
    live.retired_pending = 1;
    push_event(shared, gpu, failed ? kRetireFailed : kDramRetired, 0);
    return;
  }
  if (failed) {
    live.remap_failed = 1;
  } else {
    live.remap_uncorrected += 1;
    live.remap_pending = 1;
  }
  push_event(shared, gpu, failed ? kRetireFailed : kDramRetired, 0);
}

// Calls time out for two seconds, then the GPU wants a reset.
void stall(Shared& shared, uint32_t gpu) {
  Fault first = plain(FaultKind::kError, gpu, 10);
  std::snprintf(first.glob, sizeof(first.glob), "nvmlDevice*");
  first.end_ns = now_ns() + 2000000000ULL;
  add_fault(shared, first);
  Fault then = first;
  then.value = 16;
  then.start_ns = first.end_ns;
  then.end_ns = 0;
  add_fault(shared, then);
}

void consequences(Shared& shared, uint32_t gpu, uint32_t xid, const XidOptions& options) {
  switch (xid) {
    case 48:
      add_ecc(shared, gpu, false, kDram, 1);
      need_reset(shared, gpu);
      break;
    case 63:
      remap_row(shared, gpu, false);
      break;
    case 64:
      remap_row(shared, gpu, true);
      break;
    case 74: {
      Fault fault = plain(FaultKind::kLinkDown, gpu);
      fault.mask = 1ULL << (options.link % kMaxLinks);
      add_fault(shared, fault);
      shared.live[gpu].link_errors[options.link % kMaxLinks][1] += 1;
      break;
    }
    case 79:
      if (shared.machine.gpus[gpu].architecture >= 9) push_event(shared, gpu, kUnavailable, 0);
      add_fault(shared, plain(FaultKind::kLost, gpu, options.vanish));
      break;
    case 92:
      add_ecc(shared, gpu, true, kDram, 100);
      push_event(shared, gpu, kStorm, 0);
      break;
    case 94:
      add_ecc(shared, gpu, false, kDram, 1);
      break;
    case 95:
      add_ecc(shared, gpu, false, kDram, 1);
      need_reset(shared, gpu);
      break;
    case 119:
    case 120:
    case 143:
    case 154:
      need_reset(shared, gpu);
      stall(shared, gpu);
      break;
    case 140:
      add_ecc(shared, gpu, false, kDram, 1);
      need_reset(shared, gpu);
      break;
    default:
      break;
  }
}

}  // namespace

uint32_t add_fault(Shared& shared, Fault fault) {
  for (Fault& slot : shared.faults) {
    if (slot.used) continue;
    fault.used = 1;
    fault.id = shared.next_fault_id++;
    slot = fault;
    return fault.id;
  }
  return 0;
}

void push_event(Shared& shared, uint32_t gpu, uint64_t type, uint64_t data, uint32_t gi,
                uint32_t ci) {
  Event& event = shared.events[shared.event_count % kMaxEvents];
  event = {shared.event_count + 1, gpu, gi, ci, shared.live[gpu].generation, type, data};
  shared.event_count += 1;
}

void raise_xid(Shared& shared, uint32_t gpu, uint32_t xid, const XidOptions& options) {
  push_event(shared, gpu, kXid, xid, options.gi, options.ci);
  if (options.consequences) consequences(shared, gpu, xid, options);
}

void add_ecc(Shared& shared, uint32_t gpu, bool corrected, uint32_t location, uint64_t count) {
  uint64_t(*n)[8] = shared.live[gpu].ecc[corrected ? 0 : 1];
  n[0][location % 8] += count;
  n[1][location % 8] += count;
  push_event(shared, gpu, corrected ? kSbe : kDbe, 0);
}

void bring_back(Shared& shared, uint32_t gpu, uint32_t minor) {
  for (Fault& fault : shared.faults)
    if (fault.used && fault.gpu == gpu &&
        (fault.kind == FaultKind::kLost || fault.kind == FaultKind::kError))
      fault.used = 0;
  reset_gpu(shared, gpu);
  shared.live[gpu].generation += 1;
  if (minor != kNone) shared.live[gpu].minor = minor;
}

void unload_driver(Shared& shared, uint32_t code) {
  add_fault(shared, plain(FaultKind::kDriverAbsent, kNone, code));
}

void reload_driver(Shared& shared, const std::string& version) {
  for (Fault& fault : shared.faults)
    if (fault.used && fault.kind == FaultKind::kDriverAbsent) fault.used = 0;
  if (!version.empty())
    std::snprintf(shared.driver_version, sizeof(shared.driver_version), "%s", version.c_str());
  for (uint32_t i = 0; i < shared.machine.gpu_count && i < kMaxGpus; ++i) {
    reset_gpu(shared, i);
    shared.live[i].persistence = 0;
  }
  std::memset(static_cast<void*>(shared.processes), 0, sizeof(shared.processes));
  __atomic_add_fetch(&shared.driver_epoch, 1U, __ATOMIC_RELEASE);
}

uint32_t clear_faults(Shared& shared, uint32_t id, uint32_t gpu, FaultKind kind) {
  uint32_t cleared = 0;
  for (Fault& fault : shared.faults) {
    if (!fault.used || (id && fault.id != id) || (gpu != kNone && fault.gpu != gpu) ||
        (kind != FaultKind::kUnused && fault.kind != kind))
      continue;
    fault.used = 0;
    ++cleared;
  }
  return cleared;
}

void reset_machine(Shared& shared, const Declared& declared) {
  const uint32_t epoch = shared.driver_epoch, sequence = shared.sequence, wake = shared.wake;
  const uint64_t events = shared.event_count;
  uint32_t generations[kMaxGpus], counters[kMaxGpus];
  for (uint32_t i = 0; i < kMaxGpus; ++i) {
    generations[i] = shared.live[i].generation;
    counters[i] = shared.live[i].instance_counter;
  }
  const bool other_driver = std::strcmp(shared.driver_version, declared.machine.driver) != 0;
  // Field by field, never through a zeroed header: readers look at the counters meanwhile.
  std::memset(static_cast<void*>(shared.live), 0, sizeof(shared.live));
  std::memset(static_cast<void*>(shared.mig), 0, sizeof(shared.mig));
  std::memset(static_cast<void*>(shared.processes), 0, sizeof(shared.processes));
  std::memset(static_cast<void*>(shared.faults), 0, sizeof(shared.faults));
  for (uint32_t i = 0; i < kMaxGpus; ++i) shared.live[i].instance_counter = counters[i];
  populate(shared, declared);
  for (uint32_t i = 0; i < kMaxGpus; ++i) shared.live[i].generation = generations[i];
  shared.driver_epoch = other_driver ? epoch + 1 : epoch;
  shared.sequence = sequence;
  shared.wake = wake;
  shared.event_count = events;
}

bool add_process(Shared& shared, const Process& process) {
  for (Process& slot : shared.processes) {
    if (slot.used) continue;
    slot = process;
    slot.used = 1;
    return true;
  }
  return false;
}

uint32_t remove_processes(Shared& shared, uint32_t gpu, uint32_t pid) {
  uint32_t removed = 0;
  for (Process& p : shared.processes) {
    if (!p.used || (gpu != kNone && p.gpu != gpu) || (pid != kNone && p.pid != pid)) continue;
    p.used = 0;
    ++removed;
  }
  return removed;
}

void remove_instance_processes(Shared& shared, uint32_t gpu, uint32_t gi) {
  for (Process& p : shared.processes)
    if (p.used && p.gpu == gpu && p.gi == gi) p.used = 0;
}

const char* kind_name(FaultKind kind) {
  for (const auto& [value, name] : kKinds)
    if (value == kind) return name;
  return "none";
}

FaultKind kind_by_name(const std::string& name) {
  for (const auto& [value, text] : kKinds)
    if (name == text) return value;
  return FaultKind::kUnused;
}

std::string log_path(const Store& store) {
  const std::string state = store.state_path();
  return state.substr(0, state.rfind('.')) + ".log";
}

void log_action(const Store& store, const std::string& text) {
  const int fd = ::open(log_path(store).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  const uint64_t us = wall_us();
  char stamp[40];
  std::snprintf(stamp, sizeof(stamp), "%llu.%06llu ", static_cast<unsigned long long>(us / 1000000),
                static_cast<unsigned long long>(us % 1000000));
  const std::string line = stamp + text + "\n";
  if (::write(fd, line.data(), line.size()) < 0) std::perror("nvml-sim log");
  ::close(fd);
}

}  // namespace nvmlsim
