#include "plan/mps.h"

#include <tuple>

namespace kerf::plan {

unsigned max_mps_clients(int compute_major, int compute_minor) {
  // NVIDIA's daemon draws the line at Turing, one generation after the hardware does.
  return std::tie(compute_major, compute_minor) >= std::tuple(7, 5) ? 48 : 16;
}

Status check_mps(const inventory::Gpu& gpu, bool is_mig, const config::SharedResource& entry,
                 const std::string& place) {
  if (is_mig) {
    return fail(Kind::kUnsupported, "sharing using MPS is not supported for MIG devices", place,
                "share with sharing.timeSlicing, or select GPUs outside MIG mode");
  }
  const unsigned most = max_mps_clients(gpu.compute_major, gpu.compute_minor);
  if (gpu.compute_major > 0 && entry.replicas > most) {
    return fail(Kind::kInvalid,
                "invalid MPS configuration: invalid device maximum allowed replicas exceeded: " +
                    std::to_string(entry.replicas) + " > " + std::to_string(most),
                place + ".replicas",
                "write at most " + std::to_string(most) + " for " +
                    (gpu.name.empty() ? gpu.uuid : gpu.name));
  }
  const auto& memory = entry.limits.memory_mib;
  if (memory && gpu.memory_bytes && *memory > (*gpu.memory_bytes >> 20)) {
    return fail(Kind::kInvalid,
                "one client may use " + std::to_string(*memory) + " MiB, but " + gpu.uuid +
                    " has " + std::to_string(*gpu.memory_bytes >> 20),
                place + ".limits.memory", "write less than the GPU has");
  }
  return {};
}

std::optional<std::size_t> differing_threads(const config::Sharing& sharing,
                                             const std::vector<MpsGpu>& gpus) {
  for (const MpsGpu& each : gpus) {
    if (sharing.resources[each.entry].limits.thread_percentage !=
        sharing.resources[gpus.front().entry].limits.thread_percentage) {
      return each.entry;
    }
  }
  return {};
}

}  // namespace kerf::plan
