// From what the agent knows to the one value everybody reads: page, `kerf status`, health, metrics.
// Pure.
#pragma once

#include "agent/ledger.h"
#include "inventory/types.h"
#include "metrics/node_status.h"
#include "plan/types.h"

namespace kerf::agent {

// Fills driver, gpus (with their slices) and resources (without what only the kubelet room knows)
// from the newest snapshot and the plan in force. The plan may be older than the snapshot when the
// newest configuration was refused; devices are matched by UUID.
void describe(const inventory::Snapshot& snapshot, const plan::Plan& plan, const Ledger& ledger,
              metrics::NodeStatus& into);

// "13.0" from NVML's 13000; empty for 0.
std::string cuda_text(int version);

}  // namespace kerf::agent
