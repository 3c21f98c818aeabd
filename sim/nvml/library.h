// What one process knows: the init count, its handles, the driver it was started against, and the
// gate every call goes through (the contract's order of checks: symbol there, initialised, driver
// there and the same, pointers and handle, injected call faults, GPU lost). Then the call's own
// body runs with a View of the GPU.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "dynamics.h"
#include "src/nvml/abi.h"
#include "store.h"

#define SIM_API extern "C" __attribute__((visibility("default")))

namespace nvmlsim {

using namespace kerf::nvml::abi;

enum class HandleKind : uint32_t { kFree, kGpu, kMigDevice, kGpuInstance, kComputeInstance };

// Lives in a static table, so any pointer a caller brings can be checked without touching it.
struct Handle {
  HandleKind kind;
  uint32_t gpu, gi, ci;
  uint32_t generation;  // of the GPU, the GPU instance or the compute instance
  uint32_t epoch;       // of the driver
};

// One GPU (or MIG device) at the moment of a call.
struct View {
  const GpuSpec* spec = nullptr;
  GpuLive live{};
  Effects fx;
  uint64_t now = 0;
  uint32_t gpu = 0;
  const Handle* handle = nullptr;
  bool is_mig() const { return handle->kind != HandleKind::kGpu; }
  Reading read() const { return reading(*spec, live, fx, now); }
};

Store& store();
const Machine& machine();

Return initialise_library(uint32_t flags);
Return shutdown_library();

// The gate for calls on no particular GPU.
Return enter(const char* symbol);
// Injected faults of single calls: blocks, delays or fails. `gpu` kNone: on no particular one.
Return call_faults(const char* symbol, uint32_t gpu);

// Handles; nullptr when the table is full.
Handle* intern(const Handle& wanted);
const Handle* find_handle(const void* pointer, HandleKind kind);
Device gpu_handle(uint32_t gpu);
Device mig_handle(uint32_t gpu, const GpuInstanceState& gi, const ComputeInstanceState& ci);

// GPUs that the enumeration shows, in order.
uint32_t visible_gpus(uint32_t (&list)[kMaxGpus]);

Return copy_text(const char* text, char* out, uint32_t length);
bool is_root();

Return view_of(const char* symbol, Device device, bool mig_allowed, View& view);

enum MigUse { kGpuOnly, kMigToo };

// The body of a call on a device: `f(const View&)`. A null in `pointers` is an invalid argument.
template <typename F>
Return on_device(const char* symbol, Device device, std::initializer_list<const void*> pointers,
                 MigUse use, F&& f) {
  Return rc = enter(symbol);
  if (rc != kSuccess) return rc;
  for (const void* p : pointers)
    if (!p) return kErrorInvalidArgument;
  View view;
  rc = view_of(symbol, device, use == kMigToo, view);
  return rc == kSuccess ? f(static_cast<const View&>(view)) : rc;
}

template <typename F>
Return on_gpu(const char* symbol, Device device, std::initializer_list<const void*> pointers,
              F&& f) {
  return on_device(symbol, device, pointers, kGpuOnly, static_cast<F&&>(f));
}

// A mutation: root only, then `f(Shared&)` inside a write, returning a code.
template <typename F>
Return mutate(F&& f) {
  if (!is_root()) return kErrorNoPermission;
  Return rc = kSuccess;
  if (!store().write([&](Shared& shared) { rc = f(shared); })) return kErrorNoPermission;
  return rc;
}

// A thread that may sleep long inside the library; the mapping outlives it.
struct Sleeper {
  Sleeper();
  ~Sleeper();
};

// Writes `value` where NVML's bodies do; saves a line in a hundred functions.
template <typename T, typename V>
Return give(T* out, V value) {
  *out = static_cast<T>(value);
  return kSuccess;
}

}  // namespace nvmlsim
