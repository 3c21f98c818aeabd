// The component "usage": who uses the GPUs, and how much. Asks the kubelet who holds which device,
// the driver what every process does, and the accountant to add it up; tells metrics, page and the
// list of slices in use, and acts on containers that use more memory than is theirs if it is
// configured to. Needs the host's process ids (hostPID), the kubelet's PodResources socket and, for
// Events, evictions and quotas, the API server; each may be missing, which is said.
#pragma once

#include <memory>

#include "agent/component.h"

namespace kerf::agent {

Result<std::unique_ptr<Component>> make_usage_component(const config::Effective& effective,
                                                        const Surroundings& surroundings);

}  // namespace kerf::agent
