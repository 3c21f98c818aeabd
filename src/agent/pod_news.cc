#include "agent/pod_news.h"

#include <algorithm>
#include <optional>

namespace kerf::agent {
namespace {

// How the device that a container holds is; null when the snapshot does not know it.
const std::optional<inventory::Unhealthy>* health_of(const pods::PodDevice& held,
                                                     const inventory::Snapshot& snapshot) {
  if (held.gpu >= snapshot.gpus.size()) return nullptr;
  const inventory::Gpu& gpu = snapshot.gpus[held.gpu];
  if (held.uuid == gpu.uuid) return &gpu.unhealthy;
  auto mig = std::ranges::find(gpu.mig_devices, held.uuid, &inventory::MigDevice::uuid);
  return mig == gpu.mig_devices.end() ? nullptr : &mig->unhealthy;
}

std::string name_of(const pods::PodDevice& held, const inventory::Snapshot& snapshot) {
  const inventory::Gpu& gpu = snapshot.gpus[held.gpu];
  std::string where = "GPU " + std::to_string(gpu.index) + ", " + gpu.name;
  if (held.uuid != gpu.uuid) where = "on " + where;
  return held.uuid + " (" + where + ")";
}

}  // namespace

std::vector<PodSaying> PodNews::look(const std::vector<pods::PodDevice>& held,
                                     const inventory::Snapshot& snapshot) {
  std::vector<PodSaying> out;
  std::map<Key, std::string> now;
  for (const pods::PodDevice& each : held) {
    const std::optional<inventory::Unhealthy>* health = health_of(each, snapshot);
    if (health == nullptr || !each.facts || each.facts->uid.empty()) continue;
    Key key{{each.owner.name_space, each.owner.pod, each.facts->uid, each.owner.container},
            each.uuid};
    auto before = told_.find(key);
    if (*health) {
      const std::string cause = (*health)->reason + ": " + (*health)->detail;
      // Of several shares of a device the first speaks.
      if (!now.emplace(key, cause).second) continue;
      if (before != told_.end() && before->second == cause) continue;
      out.push_back({key.first, "GPUUnhealthy",
                     name_of(each, snapshot) +
                         ", which this container holds, is unhealthy: " + (*health)->detail,
                     true});
    } else if (before != told_.end()) {
      out.push_back({key.first, "GPURecovered",
                     name_of(each, snapshot) + ", which this container holds, is healthy again",
                     false});
      told_.erase(before);
    }
  }
  told_ = std::move(now);
  return out;
}

}  // namespace kerf::agent
