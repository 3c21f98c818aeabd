// The first half of planning: which devices exist for the purpose of advertising, under which
// resource name each falls, and which must not be used. Knows nothing of sharing. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/types.h"
#include "inventory/types.h"

namespace kerf::plan {

// A GPU or MIG device before it is shared.
struct Piece {
  unsigned gpu = 0;             // position in Snapshot::gpus
  std::optional<unsigned> mig;  // position in Gpu::mig_devices
  std::string uuid;
  std::string index;             // "0", "0:1"
  std::string unhealthy;         // why it must not be used; empty when it may
  bool named_by_default = true;  // no rule of the configuration named it
};

// Pieces by resource name, each list ordered by GPU index, then MIG index.
using Pieces = std::map<std::string, std::vector<Piece>>;

// Appends to `warnings` what the reader of the configuration or the node should know.
Pieces name_devices(const inventory::Snapshot& snapshot, const config::Config& config,
                    std::vector<std::string>& warnings);

}  // namespace kerf::plan
