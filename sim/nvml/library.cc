#include "library.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fnmatch.h>
#include <pthread.h>
#include <unistd.h>

#include "mig.h"

// libstdc++ sets memory aside for exceptions when it is loaded. Ours goes with the library, so what
// it holds must be given back on dlclose; this is its own entry for that.
namespace __gnu_cxx {
__attribute__((weak)) void __freeres();
}

namespace nvmlsim {
namespace {

constexpr uint32_t kMaxHandles = 4096;

// Plain data without destructors: threads of the program may still call while the process ends.
Handle handles[kMaxHandles];
std::atomic<uint32_t> handle_count{0};
std::atomic<uint32_t> references{0};
std::atomic<uint32_t> session_epoch{0};
std::atomic<uint32_t> sleepers{0};
char started_against[32];  // the driver version this copy of the library belongs to
char last_complaint[512];
alignas(Store) unsigned char store_memory[sizeof(Store)];
Store* the_store;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

struct CallCounter {
  std::atomic<uint32_t> fault{0};
  std::atomic<uint64_t> calls{0};
};
CallCounter counters[kMaxFaults];

struct Lock {
  Lock() { pthread_mutex_lock(&mutex); }
  ~Lock() { pthread_mutex_unlock(&mutex); }
};

void before_fork() {
  pthread_mutex_lock(&mutex);
  lock_for_fork();
}
void after_fork() {
  unlock_after_fork();
  pthread_mutex_unlock(&mutex);
}

__attribute__((constructor)) void on_load() {
  the_store = new (store_memory) Store;
  pthread_atfork(before_fork, after_fork, after_fork);
}

// On dlclose the mapping goes too, unless a thread still sleeps on it.
__attribute__((destructor)) void on_unload() {
  if (sleepers.load() == 0 && references.load() == 0) the_store->close();
  if (__gnu_cxx::__freeres) __gnu_cxx::__freeres();
}

// Once per text: an agent that retries init must not fill the log.
void complain(const std::string& what) {
  if (what == last_complaint) return;
  std::snprintf(last_complaint, sizeof(last_complaint), "%s", what.c_str());
  char line[600];
  const int n = std::snprintf(line, sizeof(line), "nvml-sim: %s\n", what.c_str());
  const std::size_t size = n < 0 ? 0 : std::min(static_cast<std::size_t>(n), sizeof(line) - 1);
  if (::write(STDERR_FILENO, line, size) < 0) return;
}

struct DriverState {
  char version[32];
  uint32_t epoch;
  Effects fx;
};

DriverState driver_state() {
  DriverState state;
  const uint64_t now = now_ns();
  the_store->read([&](const Shared& shared) {
    std::memcpy(state.version, shared.driver_version, sizeof(state.version));
    state.epoch = shared.driver_epoch;
    state.fx = effects_on(shared, kNone, now);
  });
  return state;
}

// Version mismatch, absent driver or a session from before a reload.
Return check_driver() {
  const Shared& shared = the_store->shared();
  const uint32_t epoch = __atomic_load_n(&shared.driver_epoch, __ATOMIC_ACQUIRE);
  if (epoch == session_epoch.load(std::memory_order_relaxed) &&
      __atomic_load_n(&shared.fault_count, __ATOMIC_ACQUIRE) == 0)
    return kSuccess;
  const DriverState state = driver_state();
  if (std::strcmp(state.version, started_against) != 0) return kErrorLibRmVersionMismatch;
  if (state.fx.driver_absent) return static_cast<Return>(state.fx.driver_absent_code);
  return state.epoch == session_epoch.load() ? kSuccess : kErrorUnknown;
}

bool missing(const char* symbol) {
  const Machine& m = the_store->machine();
  for (uint32_t i = 0; i < m.missing_count && i < kMaxMissing; ++i)
    if (!std::strcmp(m.missing[i].name, symbol)) return true;
  return false;
}

uint64_t count_call(uint32_t slot, uint32_t fault) {
  if (counters[slot].fault.exchange(fault) != fault) counters[slot].calls.store(0);
  return counters[slot].calls.fetch_add(1) + 1;
}

bool lucky(const Fault& fault, uint64_t call) {
  if (fault.probability >= 1) return false;
  const uint64_t draw = hash_text(std::to_string(fault.seed) + ":" + std::to_string(call));
  return static_cast<double>((draw ^ (draw >> 29)) % 1000003ULL) / 1000003.0 >= fault.probability;
}

bool still_there(uint32_t slot, uint32_t id) {
  bool there = false;
  the_store->read([&](const Shared& shared) {
    there = shared.faults[slot].id == id && in_force(shared.faults[slot], now_ns());
  });
  return there;
}

// Sleeps until the fault is over or `limit_ns` has passed (0: never).
void sit_out(uint32_t slot, const Fault& fault, uint64_t limit_ns) {
  const Sleeper sleeper;
  const uint64_t until = limit_ns ? now_ns() + limit_ns : 0;
  for (;;) {
    const uint32_t seen = the_store->wake_word();
    if (!still_there(slot, fault.id) || (until && now_ns() >= until)) return;
    uint64_t deadline = fault.end_ns;
    if (until && (deadline == 0 || until < deadline)) deadline = until;
    the_store->wait(seen, deadline);
  }
}

bool concerns(const Fault& fault, const char* symbol, uint32_t gpu, uint64_t now) {
  if (fault.kind != FaultKind::kHang && fault.kind != FaultKind::kSlow &&
      fault.kind != FaultKind::kError)
    return false;
  if (!in_force(fault, now) || (fault.gpu != kNone && fault.gpu != gpu)) return false;
  return fnmatch(fault.glob, symbol, 0) == 0;
}

bool alive(const Handle& handle, const View& view, const Shared& shared) {
  if (handle.kind == HandleKind::kGpu) return handle.generation == view.live.generation;
  const GpuInstanceState* gi = find_gpu_instance(shared, handle.gpu, handle.gi);
  if (!gi) return false;
  if (handle.kind == HandleKind::kGpuInstance) return gi->generation == handle.generation;
  const ComputeInstanceState* ci = find_compute_instance(*gi, handle.ci);
  return ci && ci->generation == handle.generation;
}

}  // namespace

Store& store() { return *the_store; }
const Machine& machine() { return the_store->machine(); }
bool is_root() { return geteuid() == 0; }

Sleeper::Sleeper() { sleepers.fetch_add(1); }
Sleeper::~Sleeper() { sleepers.fetch_sub(1); }

Return initialise_library(uint32_t flags) {
  const Lock lock;
  std::string error;
  if (!the_store->is_open() && !the_store->open(error)) {
    complain(error);
    return find_machine_file().empty() ? kErrorDriverNotLoaded : kErrorUnknown;
  }
  the_store->rejoin();
  if (!machine().driver_loaded) return kErrorDriverNotLoaded;
  const DriverState state = driver_state();
  if (!started_against[0]) std::memcpy(started_against, state.version, sizeof(state.version));
  if (std::strcmp(started_against, state.version) != 0) return kErrorLibRmVersionMismatch;
  if (state.fx.driver_absent) return kErrorDriverNotLoaded;
  const Return rc = call_faults(flags & kInitNoGpus ? "nvmlInitWithFlags" : "nvmlInit_v2", kNone);
  if (rc != kSuccess) return rc;
  if (references.load() == 0) session_epoch.store(state.epoch);
  references.fetch_add(1);
  return kSuccess;
}

Return shutdown_library() {
  const Lock lock;
  if (references.load() == 0) return kErrorUninitialized;
  references.fetch_sub(1);
  return kSuccess;
}

Return enter(const char* symbol) {
  if (references.load(std::memory_order_acquire) == 0) return kErrorUninitialized;
  if (the_store->is_private()) the_store->rejoin();
  if (machine().missing_count && missing(symbol)) return kErrorFunctionNotFound;
  return check_driver();
}

Return call_faults(const char* symbol, uint32_t gpu) {
  if (__atomic_load_n(&the_store->shared().fault_count, __ATOMIC_ACQUIRE) == 0) return kSuccess;
  for (uint32_t slot = 0; slot < kMaxFaults; ++slot) {
    Fault fault;
    the_store->read([&](const Shared& shared) { fault = shared.faults[slot]; });
    if (!concerns(fault, symbol, gpu, now_ns())) continue;
    const uint64_t call = count_call(slot, fault.id);
    if (call <= fault.after_calls || lucky(fault, call)) continue;
    if (fault.kind == FaultKind::kHang) sit_out(slot, fault, 0);
    if (fault.kind == FaultKind::kSlow) sit_out(slot, fault, fault.value * 1000000ULL);
    if (fault.kind == FaultKind::kError) return static_cast<Return>(fault.value);
  }
  return kSuccess;
}

Handle* intern(const Handle& wanted) {
  const auto matches = [&](const Handle& h) {
    return h.kind == wanted.kind && h.gpu == wanted.gpu && h.gi == wanted.gi && h.ci == wanted.ci &&
           h.generation == wanted.generation && h.epoch == wanted.epoch;
  };
  const uint32_t count = handle_count.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i)
    if (matches(handles[i])) return &handles[i];
  const Lock lock;
  for (uint32_t i = count; i < handle_count.load(); ++i)
    if (matches(handles[i])) return &handles[i];
  const uint32_t at = handle_count.load();
  if (at == kMaxHandles) return nullptr;
  handles[at] = wanted;
  handle_count.store(at + 1, std::memory_order_release);
  return &handles[at];
}

const Handle* find_handle(const void* pointer, HandleKind kind) {
  const auto at = reinterpret_cast<std::uintptr_t>(pointer);
  const auto base = reinterpret_cast<std::uintptr_t>(&handles[0]);
  if (at < base || (at - base) % sizeof(Handle) != 0) return nullptr;
  if ((at - base) / sizeof(Handle) >= handle_count.load(std::memory_order_acquire)) return nullptr;
  const auto* handle = static_cast<const Handle*>(pointer);
  return handle->kind == kind && handle->epoch == session_epoch.load() ? handle : nullptr;
}

Device gpu_handle(uint32_t gpu) {
  uint32_t generation = 0;
  store().read([&](const Shared& shared) { generation = shared.live[gpu].generation; });
  return reinterpret_cast<Device>(
      intern({HandleKind::kGpu, gpu, kNone, kNone, generation, session_epoch.load()}));
}

Device mig_handle(uint32_t gpu, const GpuInstanceState& gi, const ComputeInstanceState& ci) {
  return reinterpret_cast<Device>(
      intern({HandleKind::kMigDevice, gpu, gi.id, ci.id, ci.generation, session_epoch.load()}));
}

Return view_of(const char* symbol, Device device, bool mig_allowed, View& view) {
  const Handle* handle = find_handle(device, HandleKind::kGpu);
  if (!handle) handle = find_handle(device, HandleKind::kMigDevice);
  if (!handle) return kErrorInvalidArgument;
  const Return rc = call_faults(symbol, handle->gpu);
  if (rc != kSuccess) return rc;
  view.handle = handle;
  view.gpu = handle->gpu;
  view.spec = &machine().gpus[handle->gpu];
  view.now = now_ns();
  bool valid = false;
  store().read([&](const Shared& shared) {
    view.live = shared.live[handle->gpu];
    view.fx = effects_on(shared, handle->gpu, view.now);
    valid = alive(*handle, view, shared);
  });
  if (view.fx.lost) return kErrorGpuIsLost;
  if (!valid) return handle->kind == HandleKind::kGpu ? kErrorGpuIsLost : kErrorInvalidArgument;
  if (view.is_mig() && !mig_allowed) return kErrorNotSupported;
  return kSuccess;
}

uint32_t visible_gpus(uint32_t (&list)[kMaxGpus]) {
  uint32_t count = 0;
  const uint64_t now = now_ns();
  store().read([&](const Shared& shared) {
    count = 0;
    for (uint32_t i = 0; i < shared.machine.gpu_count && i < kMaxGpus; ++i)
      if (!effects_on(shared, i, now).vanished) list[count++] = i;
  });
  return count;
}

Return copy_text(const char* text, char* out, uint32_t length) {
  const std::size_t size = std::strlen(text) + 1;
  if (size > length) return kErrorInsufficientSize;
  std::memcpy(out, text, size);
  return kSuccess;
}

}  // namespace nvmlsim
