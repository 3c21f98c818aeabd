// The component "events": tells the cluster what happens to this node's GPUs, by Kubernetes Events
// about the Node and by its condition NVIDIAGPUHealthy. Needs the right to create events, to get
// nodes and to patch nodes/status; without a way to the API server it reports that and does
// nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/component.h"
#include "inventory/types.h"

namespace kerf::agent {

Result<std::unique_ptr<Component>> make_events_component(const config::Effective& effective,
                                                         const Surroundings& surroundings);

// An Event that a change is worth. Reasons: GPUUnhealthy, GPURecovered, GPURemoved, GPUAdded,
// DriverLost, DriverRecovered (and, of the configuration, ConfigApplied, ConfigRefused).
struct Saying {
  std::string reason;
  std::string message;
  bool warning = false;
  bool operator==(const Saying&) const = default;
};

// What to say about the step from `before` (null: there was nothing) to `after`. Devices that are
// there from the beginning are not told of, unless they are unhealthy. Pure.
std::vector<Saying> sayings(const inventory::SnapshotPtr& before, const inventory::Snapshot& after);

}  // namespace kerf::agent
