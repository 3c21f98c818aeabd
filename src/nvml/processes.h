// What the driver tells of the processes on a GPU: who is there, how much memory they hold, how
// busy they keep it. As everything that enters the driver these calls may block and belong on a
// lane. Process ids are those of the caller's process-id namespace; processes that it does not
// reach are left out by the driver. What each call means: NVML API reference.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "nvml/abi.h"
#include "nvml/session.h"

namespace kerf::nvml {

// A process on a GPU or on one MIG device of it.
struct RunningProcess {
  std::uint32_t pid = 0;
  std::optional<std::uint64_t> bytes;         // of device memory; absent when not told
  std::optional<std::uint32_t> gpu_instance;  // of a MIG device
  std::optional<std::uint32_t> compute_instance;
  // In which of the driver's lists it is.
  bool compute = false;
  bool graphics = false;
  bool mps = false;
  bool operator==(const RunningProcess&) const = default;
};

// How busy one process kept the GPU, on average over the samples; percent.
struct ProcessActivity {
  std::uint32_t pid = 0;
  double sm = 0;      // of the time that multiprocessors worked
  double memory = 0;  // of the time that memory was read or written
};

// The most processes believed.
inline constexpr std::uint32_t kMaxProcesses = 4096;

// Compute, graphics and MPS processes, each once: one that is in several lists is there with the
// greatest of its figures. Ordered by pid, then instance. On the handle of a GPU with MIG: those of
// all its MIG devices. Errors: those of nvmlDeviceGetComputeRunningProcesses_v3; the other two
// lists may be missing.
Result<std::vector<RunningProcess>> running_processes(const Session& session, abi::Device gpu);

// Processes that were busy after `since_us` (microseconds since the epoch), by pid. None when the
// driver has no newer sample. Errors: kUnsupported (MIG, old GPUs), and others.
Result<std::vector<ProcessActivity>> process_activity(const Session& session, abi::Device gpu,
                                                      std::uint64_t since_us);

}  // namespace kerf::nvml
