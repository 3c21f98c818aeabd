// The component "labels": keeps this node's labels, by way of node-feature-discovery (a feature
// file or a NodeFeature object) or on the Node itself. What the labels are is the labels room's
// business.
#pragma once

#include <memory>

#include "agent/component.h"

namespace kerf::agent {

// kInvalid when labels are to go through the API server and the node's name is not known.
Result<std::unique_ptr<Component>> make_labels_component(const config::Effective& effective,
                                                         const Surroundings& surroundings);

}  // namespace kerf::agent
