// Putting naming and sharing together, after refusing what this version cannot serve.
#include "plan/plan.h"

#include <algorithm>
#include <utility>

#include "plan/naming.h"
#include "plan/sharing.h"

namespace kerf::plan {
namespace {

bool is_cdi(config::DeviceListStrategy strategy) {
  return strategy == config::DeviceListStrategy::kCdiAnnotations ||
         strategy == config::DeviceListStrategy::kCdiCri;
}

Status check(const config::Config& config, std::vector<std::string>& warnings) {
  if (config.sharing_strategy == config::SharingStrategy::kMps) {
    return fail(Kind::kUnsupported, "sharing through MPS is not served by this version",
                "sharing.mps", "use sharing.timeSlicing, or remove sharing.mps");
  }
  const auto& strategies = config.device_list_strategies;
  if (std::none_of(strategies.begin(), strategies.end(), is_cdi)) return {};
  if (std::all_of(strategies.begin(), strategies.end(), is_cdi)) {
    return fail(Kind::kUnsupported, "this version writes no CDI specifications",
                "flags.plugin.deviceListStrategy", "use envvar or volume-mounts");
  }
  warnings.emplace_back(
      "flags.plugin.deviceListStrategy: this version writes no CDI specifications; containers get "
      "their devices through the other strategies listed.");
  return {};
}

}  // namespace

Result<Plan> make_plan(inventory::SnapshotPtr snapshot, const config::Config& config,
                       std::uint64_t generation) {
  if (!snapshot) snapshot = std::make_shared<const inventory::Snapshot>();
  Plan plan;
  if (Status status = check(config, plan.warnings); !status) return fail(status.error());
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
