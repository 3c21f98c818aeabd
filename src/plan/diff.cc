// Comparing plans resource by resource. Both lists are ordered by name.
#include "plan/diff.h"

#include <algorithm>
#include <tuple>

namespace kerf::plan {
namespace {

bool same_list(const Resource& a, const Resource& b) {
  return std::equal(a.devices.begin(), a.devices.end(), b.devices.begin(), b.devices.end(),
                    [](const Device& x, const Device& y) {
                      return x.id == y.id && x.healthy == y.healthy && x.numa_node == y.numa_node;
                    });
}

// The settings that shape answers rather than lists.
auto settings(const config::Config& c) {
  return std::tie(c.pass_device_specs, c.device_list_strategies, c.device_id_strategy,
                  c.allocation_policy, c.dev_root, c.gdrcopy_enabled, c.gds_enabled,
                  c.mofed_enabled, c.imex_channel_ids);
}

// The facts of hardware that Allocate and the preference read beyond the list itself.
bool same_hardware(const inventory::Snapshot& a, const inventory::Snapshot& b) {
  auto same_mig = [](const inventory::MigDevice& x, const inventory::MigDevice& y) {
    return x.gpu_instance_minor == y.gpu_instance_minor &&
           x.compute_instance_minor == y.compute_instance_minor;
  };
  auto same_gpu = [&](const inventory::Gpu& x, const inventory::Gpu& y) {
    return x.minor == y.minor && std::equal(x.mig_devices.begin(), x.mig_devices.end(),
                                            y.mig_devices.begin(), y.mig_devices.end(), same_mig);
  };
  auto same_link = [](const inventory::Link& x, const inventory::Link& y) {
    return x.from == y.from && x.to == y.to && x.score() == y.score();
  };
  return std::equal(a.gpus.begin(), a.gpus.end(), b.gpus.begin(), b.gpus.end(), same_gpu) &&
         std::equal(a.links.begin(), a.links.end(), b.links.begin(), b.links.end(), same_link);
}

}  // namespace

Diff diff(const Plan& before, const Plan& after) {
  Diff result;
  const bool same_answers = settings(before.config) == settings(after.config) &&
                            same_hardware(*before.snapshot, *after.snapshot);
  auto old_one = before.resources.begin();
  auto new_one = after.resources.begin();
  while (old_one != before.resources.end() || new_one != after.resources.end()) {
    if (new_one == after.resources.end() ||
        (old_one != before.resources.end() && old_one->name < new_one->name)) {
      result.removed.push_back((old_one++)->name);
      continue;
    }
    if (old_one == before.resources.end() || new_one->name < old_one->name) {
      result.added.push_back((new_one++)->name);
      continue;
    }
    if (!same_list(*old_one, *new_one)) {
      result.relisted.push_back(new_one->name);
    } else if (!same_answers || *old_one != *new_one) {
      result.retuned.push_back(new_one->name);
    }
    ++old_one;
    ++new_one;
  }
  return result;
}

}  // namespace kerf::plan
