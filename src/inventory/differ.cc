#include "inventory/differ.h"

#include <algorithm>

namespace kerf::inventory {

namespace {

using What = Change::What;

template <typename Device>
const Device* find_uuid(const std::vector<Device>& among, const std::string& uuid) {
  auto found = std::find_if(among.begin(), among.end(),
                            [&](const Device& device) { return device.uuid == uuid; });
  return found == among.end() ? nullptr : &*found;
}

// True when health accounts for a change.
bool diff_health(const std::string& uuid, const std::optional<Unhealthy>& before,
                 const std::optional<Unhealthy>& after, std::vector<Change>& changes) {
  if (before == after) return false;
  if (after) {
    changes.push_back({What::kUnhealthy, uuid, after->reason + ": " + after->detail});
  } else {
    changes.push_back({What::kRecovered, uuid, "no longer " + before->reason});
  }
  return true;
}

template <typename Device>
Device without_health(Device device) {
  device.unhealthy.reset();
  return device;
}

Gpu bare(Gpu gpu) {
  gpu = without_health(std::move(gpu));
  gpu.mig_devices.clear();
  return gpu;
}

void diff_device(const MigDevice& before, const MigDevice& after, std::vector<Change>& changes) {
  diff_health(after.uuid, before.unhealthy, after.unhealthy, changes);
  if (without_health(before) != without_health(after)) {
    changes.push_back({What::kChanged, after.uuid, after.profile});
  }
}

void diff_device(const Gpu& before, const Gpu& after, std::vector<Change>& changes);

template <typename Device>
void diff_list(const std::vector<Device>& before, const std::vector<Device>& after,
               const std::string& noun, std::vector<Change>& changes) {
  for (const Device& device : before) {
    if (find_uuid(after, device.uuid) == nullptr) {
      changes.push_back({What::kRemoved, device.uuid, noun});
    }
  }
  for (const Device& device : after) {
    if (const Device* old = find_uuid(before, device.uuid)) {
      diff_device(*old, device, changes);
    } else {
      changes.push_back({What::kAdded, device.uuid, noun});
      diff_health(device.uuid, std::nullopt, device.unhealthy, changes);
    }
  }
}

void diff_device(const Gpu& before, const Gpu& after, std::vector<Change>& changes) {
  diff_health(after.uuid, before.unhealthy, after.unhealthy, changes);
  if (bare(before) != bare(after)) changes.push_back({What::kChanged, after.uuid, after.name});
  std::size_t so_far = changes.size();
  diff_list(before.mig_devices, after.mig_devices, "MIG device", changes);
  if (changes.size() == so_far && before.mig_devices != after.mig_devices) {
    changes.push_back({What::kChanged, after.uuid, "order of MIG devices"});
  }
}

std::string describe(const Driver& driver) {
  std::string text = to_string(driver.state);
  if (!driver.version.empty()) text += ", version " + driver.version;
  if (!driver.detail.empty()) text += ": " + driver.detail;
  return text;
}

}  // namespace

const char* to_string(What what) {
  switch (what) {
    case What::kDriver:
      return "driver";
    case What::kAdded:
      return "added";
    case What::kRemoved:
      return "removed";
    case What::kUnhealthy:
      return "unhealthy";
    case What::kRecovered:
      return "recovered";
    case What::kLinks:
      return "links";
    case What::kChanged:
      break;
  }
  return "changed";
}

const char* to_string(DriverState state) {
  switch (state) {
    case DriverState::kReady:
      return "ready";
    case DriverState::kFailed:
      return "failed";
    case DriverState::kStuck:
      return "stuck";
    case DriverState::kAbsent:
      break;
  }
  return "absent";
}

std::vector<Change> diff(const Snapshot& before, const Snapshot& after) {
  std::vector<Change> changes;
  if (before.driver != after.driver) {
    changes.push_back({What::kDriver, "driver", describe(after.driver)});
  }
  std::size_t so_far = changes.size();
  diff_list(before.gpus, after.gpus, "GPU", changes);
  if (changes.size() == so_far && before.gpus != after.gpus) {
    changes.push_back({What::kChanged, "driver", "order of GPUs"});
  }
  if (before.links != after.links) {
    changes.push_back({What::kLinks, "links", std::to_string(after.links.size()) + " pairs"});
  }
  return changes;
}

bool same_content(const Snapshot& a, const Snapshot& b) {
  return a.driver == b.driver && a.gpus == b.gpus && a.links == b.links;
}

}  // namespace kerf::inventory
