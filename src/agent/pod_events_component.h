// The component "pod-events": tells pods, by Kubernetes Events that `kubectl describe pod` shows,
// when a GPU that they hold becomes unhealthy under them and when it is well again. The plugin
// cannot: only the kubelet's PodResources say who holds which device, and their socket is root's.
// Needs that socket, and the rights to watch pods and to create events; what is missing is said.
#pragma once

#include <memory>

#include "agent/component.h"

namespace kerf::agent {

Result<std::unique_ptr<Component>> make_pod_events_component(const config::Effective& effective,
                                                             const Surroundings& surroundings);

}  // namespace kerf::agent
