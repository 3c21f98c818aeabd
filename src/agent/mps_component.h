// The component "mps": runs one control daemon of NVIDIA's for each resource that is shared by MPS,
// as the plan says. What a daemon is told and how it is kept alive is the mps room's business.
// Needs root, the driver's programs and the directory --mps-dir.
#pragma once

#include <memory>

#include "agent/component.h"

namespace kerf::agent {

Result<std::unique_ptr<Component>> make_mps_component(const config::Effective& effective,
                                                      const Surroundings& surroundings);

}  // namespace kerf::agent
