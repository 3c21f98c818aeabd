// The component "power": holds GPUs at the limits of the configuration's power section. What is to
// be done and when is the power room's business. Needs the right to change GPUs: root and
// CAP_SYS_ADMIN.
#pragma once

#include <memory>

#include "agent/component.h"

namespace kerf::agent {

Result<std::unique_ptr<Component>> make_power_component(const config::Effective& effective,
                                                        const Surroundings& surroundings);

}  // namespace kerf::agent
