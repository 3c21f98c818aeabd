// Whether a DaemonSet's pods may run on a node, by the scheduler's rules for labels and taints, and
// why not. Pure. Source: Kubernetes, "Assigning Pods to Nodes", "Taints and Tolerations".
#pragma once

#include <string>
#include <vector>

#include "doctor/types.h"

namespace kerf::doctor {

// The requirement holds for a node with these labels. An unknown operator never does.
bool holds(const Requirement& requirement, const std::map<std::string, std::string>& labels);

// nodeSelector and required node affinity hold.
bool selects(const DaemonSetObject& set, const NodeObject& node);

// What `set` asks of a node's labels, for people: "a=true and (b=true, or c is set)". "" for
// nothing.
std::string asks_for(const DaemonSetObject& set);

// Taints that keep the pods away: NoSchedule and NoExecute, not tolerated, and not among those that
// every DaemonSet tolerates (not-ready, unreachable, pressure, unschedulable, network-unavailable).
std::vector<Taint> repelled_by(const DaemonSetObject& set, const NodeObject& node);

// "key=value:NoSchedule"
std::string to_string(const Taint& taint);

// Labels by which a node says that it has an NVIDIA GPU, of those the node has with value true.
std::vector<std::string> gpu_labels(const NodeObject& node);

}  // namespace kerf::doctor
