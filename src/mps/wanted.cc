#include "mps/wanted.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"

namespace kerf::mps {
namespace {

using inventory::Gpu;

// The models differ, or some GPU of the node is not among these.
bool must_narrow(const inventory::Snapshot& snapshot, const plan::Resource& resource) {
  if (resource.mps.size() != snapshot.gpus.size()) return true;
  return std::ranges::any_of(snapshot.gpus, [&](const Gpu& gpu) {
    return gpu.name != snapshot.gpus.front().name ||
           gpu.pci_device != snapshot.gpus.front().pci_device;
  });
}

std::optional<std::uint64_t> memory_of_client(const Gpu& gpu, const config::SharedResource& entry) {
  if (entry.limits.memory_mib) return entry.limits.memory_mib;
  if (!gpu.memory_bytes) return {};
  return memory_share_mib(*gpu.memory_bytes, entry.replicas);
}

Wanted wanted_for(const plan::Plan& plan, const plan::Resource& resource) {
  Wanted out;
  out.resource = resource.name;
  out.narrowed = must_narrow(*plan.snapshot, resource);
  std::optional<unsigned> threads;
  for (const plan::MpsGpu& each : resource.mps) {
    const Gpu& gpu = plan.snapshot->gpus[each.gpu];
    const config::SharedResource& entry = plan.config.sharing.resources[each.entry];
    const std::size_t index = out.narrowed ? out.gpus.size() : gpu.index;
    out.gpus.push_back(gpu.uuid);
    threads = entry.limits.thread_percentage;
    if (auto memory = memory_of_client(gpu, entry)) {
      out.commands.push_back("set_default_device_pinned_mem_limit " + std::to_string(index) + " " +
                             std::to_string(*memory) + "M");
    }
  }
  const auto shared = static_cast<std::size_t>(std::ranges::count_if(
      resource.devices, [](const plan::Device& device) { return device.replica.has_value(); }));
  out.commands.push_back("set_default_active_thread_percentage " +
                         std::to_string(threads.value_or(thread_share(shared, out.gpus.size()))));
  return out;
}

}  // namespace

std::uint64_t memory_share_mib(std::uint64_t total_bytes, unsigned replicas) {
  return replicas == 0 ? 0 : total_bytes / replicas / (1ULL << 20);
}

unsigned thread_share(std::size_t devices, std::size_t gpus) {
  const std::size_t clients = gpus == 0 ? 0 : devices / gpus;
  return clients == 0 ? 100 : static_cast<unsigned>(100 / clients);
}

std::vector<Wanted> wanted_daemons(const plan::Plan& plan) {
  std::vector<Wanted> out;
  for (const plan::Resource& resource : plan.resources) {
    if (!resource.mps.empty()) out.push_back(wanted_for(plan, resource));
  }
  return out;
}

std::vector<std::string> daemon_environment(const Wanted& wanted, const std::string& pipe,
                                            const std::string& log) {
  std::vector<std::string> out = {"CUDA_MPS_PIPE_DIRECTORY=" + pipe,
                                  "CUDA_MPS_LOG_DIRECTORY=" + log};
  if (wanted.narrowed) out.push_back("CUDA_VISIBLE_DEVICES=" + join(wanted.gpus, ","));
  return out;
}

}  // namespace kerf::mps
