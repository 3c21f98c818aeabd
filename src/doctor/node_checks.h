// Judges what was seen of a node from inside. Pure.
#pragma once

#include "doctor/types.h"

namespace kerf::doctor {

// In the order in which a GPU comes to life: hardware, kernel modules, device nodes, NVML, the
// kubelet's directory, the agent. At least one finding for each.
Findings examine_node(const NodeFacts& node);

// The names in a Talos node's list of system extensions (extensions.yaml): `name:` fields, in
// order.
std::vector<std::string> extension_names(std::string_view yaml);

// Whether extensions bring NVIDIA's kernel modules, and the container toolkit. `names` may carry
// any prefix ("extensions.talos.dev/") and branch ("-production").
Findings examine_extensions(const std::vector<std::string>& names);

}  // namespace kerf::doctor
