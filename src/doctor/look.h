// Looks at a node's trees and asks an API server, and fills the facts that the checks judge. Reads
// only; blocks as long as the kernel or the server takes.
#pragma once

#include <string>

#include "base/roots.h"
#include "doctor/types.h"
#include "kube/access.h"

namespace kerf::doctor {

// All but what the driver and the agent say. `plugin_directory`: the kubelet's for device plugins.
NodeFacts look_at_node(const Roots& roots, const std::string& plugin_directory);

struct Question {
  kube::Access access;
  std::string user_agent;
  std::string node;  // the node asked about; empty: all
};

// Asks for nodes, DaemonSets, their pods and Events, RuntimeClasses, and pods with GPUs. What the
// server refuses to tell is in `not_told`. Errors: as kube::Client, when it cannot be asked at all;
// kNotFound when there is no such node.
Result<ClusterFacts> ask_cluster(const Question& question);

}  // namespace kerf::doctor
