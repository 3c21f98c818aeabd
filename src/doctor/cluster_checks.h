// Judges what the API server says of a cluster's GPUs. Pure.
#pragma once

#include "doctor/types.h"

namespace kerf::doctor {

// First what concerns the whole cluster (the plugin's DaemonSet, RuntimeClass nvidia, pods that
// wait for GPUs), then each node that has GPUs, or the one asked for: whether the DaemonSet selects
// and tolerates it, the plugin's pod and its last error, capacity, what is given out.
Findings examine_cluster(const ClusterFacts& cluster);

}  // namespace kerf::doctor
