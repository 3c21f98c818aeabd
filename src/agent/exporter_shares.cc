#include "agent/exporter_shares.h"

#include <cmath>
#include <utility>

namespace kerf::agent {
namespace {

// The part of a whole number that the `position`th of `count` has, so that all have all of it and
// nobody's goes down when the whole goes up.
std::int64_t part_of(std::int64_t whole, unsigned position, unsigned count) {
  return whole / count + (position < whole % count ? 1 : 0);
}

exporter::Share::Own own_of(const usage::Use& use, const usage::GpuUse& gpu, bool mig,
                            unsigned position, unsigned count) {
  exporter::Share::Own out;
  if (!gpu.processes_known) return out;
  out.memory_mib = part_of(static_cast<std::int64_t>(use.memory_bytes >> 20), position, count);
  if (mig) return out;
  if (use.busy_ratio && gpu.busy_ratio) {
    out.busy = *gpu.busy_ratio > 0 ? *use.busy_ratio / *gpu.busy_ratio / count : 0;
  }
  if (use.power_w && gpu.mean_w) out.power = *use.power_w / *gpu.mean_w / count;
  // Without activity energy is nobody's, which is not the same as none.
  if (use.busy_ratio || use.energy_j > 0) {
    out.energy_mj = part_of(std::llround(use.energy_j * 1000), position, count);
  }
  return out;
}

}  // namespace

bool is_untold(const usage::GpuUse& gpu) { return gpu.untold_rounds >= kUntoldRounds; }

void fill_own_figures(exporter::Attribution& shares, const usage::Account& account,
                      const std::map<std::string, std::string>& gpu_of) {
  for (auto& [device, list] : shares) {
    const auto named = gpu_of.find(device);
    const std::string& physical = named != gpu_of.end() ? named->second : device;
    const auto gpu = account.gpus().find(physical);
    if (gpu != account.gpus().end() && is_untold(gpu->second)) continue;
    std::map<pods::Owner, std::pair<unsigned, unsigned>> counts;  // shares so far, and in all
    auto owner_of = [](const exporter::Share& share) {
      return pods::Owner{share.name_space, share.pod, share.container};
    };
    for (const exporter::Share& share : list) {
      if (share.replica) ++counts[owner_of(share)].second;
    }
    for (exporter::Share& share : list) {
      if (!share.replica) continue;
      const pods::Owner owner = owner_of(share);
      auto& [position, count] = counts[owner];
      const auto use = account.uses().find({owner, device});
      share.own.emplace();
      if (gpu != account.gpus().end() && use != account.uses().end()) {
        share.own = own_of(use->second, gpu->second, physical != device, position, count);
      }
      ++position;
    }
  }
}

}  // namespace kerf::agent
