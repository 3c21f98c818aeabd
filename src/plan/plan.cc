// Putting naming and sharing together.
#include "plan/plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "plan/naming.h"
#include "plan/sharing.h"

namespace kerf::plan {

Result<Plan> make_plan(inventory::SnapshotPtr snapshot, const config::Config& config,
                       std::uint64_t generation) {
  if (!snapshot) snapshot = std::make_shared<const inventory::Snapshot>();
  Plan plan;
  Pieces pieces = name_devices(*snapshot, config, plan.warnings);
  auto resources = share_devices(*snapshot, config, std::move(pieces), plan.warnings);
  if (!resources) return fail(std::move(resources.error()));
  plan.generation = generation;
  plan.resources = std::move(*resources);
  plan.config = config;
  plan.snapshot = std::move(snapshot);
  return plan;
}

const Resource* find_resource(const Plan& plan, std::string_view name) {
  auto found = std::find_if(plan.resources.begin(), plan.resources.end(),
                            [&](const Resource& resource) { return resource.name == name; });
  return found == plan.resources.end() ? nullptr : &*found;
}

std::string_view sharing_of(const Resource& resource) {
  if (!resource.mps.empty()) return "mps";
  return resource.shared ? "time-slicing" : "none";
}

std::size_t replicas_of(const Resource& resource) {
  std::map<std::string_view, std::size_t> ids;
  std::size_t most = 0;
  for (const Device& device : resource.devices) most = std::max(most, ++ids[device.physical_id]);
  return most;
}

void hold_back(Resource& resource, const std::string& reason) {
  for (Device& device : resource.devices) {
    if (!device.replica || !device.healthy) continue;
    device.healthy = false;
    device.unhealthy_reason = reason;
  }
}

}  // namespace kerf::plan
