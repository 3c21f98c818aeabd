#include "nvml/processes.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "nvml/errors.h"

namespace kerf::nvml {
namespace {

// Processes come while we ask how many there are; a driver that always finds one more is left
// alone.
constexpr int kAttempts = 6;
constexpr std::uint32_t kFirstRoom = 64;
// NVML_VALUE_NOT_AVAILABLE
constexpr std::uint64_t kNotAvailable = ~std::uint64_t{0};

// Calls `get(&count, records)` with room enough. kErrorNotFound is an empty list.
template <typename Record, typename Get>
Result<std::vector<Record>> read_list(const Session& session, std::string_view name, bool there,
                                      Get get) {
  if (!there) return fail(error_for(abi::kErrorFunctionNotFound, name));
  std::uint32_t room = kFirstRoom;
  std::uint32_t code = abi::kErrorInsufficientSize;
  for (int attempt = 0; attempt < kAttempts && code == abi::kErrorInsufficientSize; ++attempt) {
    std::vector<Record> records(room);
    std::uint32_t count = room;
    code = get(&count, records.data());
    session.count(code == abi::kErrorInsufficientSize || code == abi::kErrorNotFound
                      ? std::uint32_t{abi::kSuccess}
                      : code);
    if (code == abi::kErrorNotFound) return std::vector<Record>();
    if (code == abi::kSuccess) {
      if (count > room) break;
      records.resize(count);
      return records;
    }
    room = std::min(kMaxProcesses, std::max(2 * room, count + 16));
  }
  if (code == abi::kSuccess) {
    return fail(Kind::kCorrupt, std::string(name) + ": more entries than there was room for");
  }
  return fail(error_for(code, name));
}

using Key = std::tuple<std::uint32_t, std::optional<std::uint32_t>, std::optional<std::uint32_t>>;
using Merged = std::map<Key, RunningProcess>;

void merge(Merged& into, std::span<const abi::ProcessInfo> list, bool RunningProcess::* kind) {
  auto instance = [](std::uint32_t id) {
    return id == abi::kNoInstance ? std::nullopt : std::optional(id);
  };
  for (const abi::ProcessInfo& each : list) {
    RunningProcess& process =
        into[{each.pid, instance(each.gpu_instance_id), instance(each.compute_instance_id)}];
    process.*kind = true;
    if (each.used_gpu_memory == kNotAvailable) continue;
    process.bytes = std::max(process.bytes.value_or(0), each.used_gpu_memory);
  }
}

}  // namespace

Result<std::vector<RunningProcess>> running_processes(const Session& session, abi::Device gpu) {
  const abi::Functions& f = session.library().functions();
  auto list = [&](std::string_view name, auto function) {
    return read_list<abi::ProcessInfo>(
        session, name, function != nullptr,
        [&](std::uint32_t* count, abi::ProcessInfo* out) { return function(gpu, count, out); });
  };
  Merged merged;
  auto compute =
      list("nvmlDeviceGetComputeRunningProcesses_v3", f.nvmlDeviceGetComputeRunningProcesses_v3);
  if (!compute) return fail(std::move(compute.error()));
  merge(merged, *compute, &RunningProcess::compute);
  if (auto graphics = list("nvmlDeviceGetGraphicsRunningProcesses_v3",
                           f.nvmlDeviceGetGraphicsRunningProcesses_v3)) {
    merge(merged, *graphics, &RunningProcess::graphics);
  }
  if (auto mps = list("nvmlDeviceGetMPSComputeRunningProcesses_v3",
                      f.nvmlDeviceGetMPSComputeRunningProcesses_v3)) {
    merge(merged, *mps, &RunningProcess::mps);
  }
  std::vector<RunningProcess> out;
  out.reserve(merged.size());
  for (auto& [key, process] : merged) {
    std::tie(process.pid, process.gpu_instance, process.compute_instance) = key;
    out.push_back(process);
  }
  return out;
}

Result<std::vector<ProcessActivity>> process_activity(const Session& session, abi::Device gpu,
                                                      std::uint64_t since_us) {
  constexpr std::string_view kName = "nvmlDeviceGetProcessUtilization";
  auto function = session.library().functions().nvmlDeviceGetProcessUtilization;
  auto samples = read_list<abi::ProcessUtilizationSample>(
      session, kName, function != nullptr,
      [&](std::uint32_t* count, abi::ProcessUtilizationSample* out) {
        return function(gpu, out, count, since_us);
      });
  if (!samples) return fail(std::move(samples.error()));
  struct Sum {
    double sm = 0;
    double memory = 0;
    unsigned count = 0;
  };
  std::map<std::uint32_t, Sum> sums;
  for (const abi::ProcessUtilizationSample& each : *samples) {
    // Empty entries, and percentages that are none.
    if (each.pid == 0 || each.timestamp == 0 || each.sm > 100 || each.memory > 100) continue;
    Sum& sum = sums[each.pid];
    sum.sm += each.sm;
    sum.memory += each.memory;
    ++sum.count;
  }
  std::vector<ProcessActivity> out;
  out.reserve(sums.size());
  for (const auto& [pid, sum] : sums)
    out.push_back({pid, sum.sm / sum.count, sum.memory / sum.count});
  return out;
}

}  // namespace kerf::nvml
