// Putting naming and sharing together, after refusing what this version cannot serve.
#include "plan/plan.h"

#include <algorithm>
#include <utility>

#include "plan/naming.h"
#include "plan/sharing.h"

namespace kerf::plan {
namespace {

Status check(const config::Config& config) {
  if (config.sharing_strategy == config::SharingStrategy::kMps) {
    return fail(Kind::kUnsupported, "sharing through MPS is not served by this version",
                "sharing.mps", "use sharing.timeSlicing, or remove sharing.mps");
  }
  return {};
}

}  // namespace

Result<Plan> make_plan(inventory::SnapshotPtr snapshot, const config::Config& config,
                       std::uint64_t generation) {
  if (!snapshot) snapshot = std::make_shared<const inventory::Snapshot>();
  Plan plan;
  if (Status status = check(config); !status) return fail(status.error());
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

}  // namespace kerf::plan
