// The metrics exporter as a component: GPUs of the plan's snapshot and the kubelet's pods go in,
// dcgm-exporter's text comes out on an address of its own.
#pragma once

#include <memory>

#include "agent/component.h"

namespace kerf::agent {

// Errors: the counter list, the web configuration or an option is wrong; the address is taken.
Result<std::unique_ptr<Component>> make_exporter_component(const config::Effective& effective,
                                                           const Surroundings& surroundings);

}  // namespace kerf::agent
