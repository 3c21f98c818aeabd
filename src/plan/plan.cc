// Putting naming and sharing together.
#include "plan/plan.h"

#include <algorithm>
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

void hold_back(Resource& resource, const std::string& reason) {
  for (Device& device : resource.devices) {
    if (!device.replica || !device.healthy) continue;
    device.healthy = false;
    device.unhealthy_reason = reason;
  }
}

}  // namespace kerf::plan
