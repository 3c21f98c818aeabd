// The second half of planning: named pieces become the devices of resources, shared where the
// configuration says so. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/types.h"
#include "inventory/types.h"
#include "plan/naming.h"
#include "plan/types.h"

namespace kerf::plan {

// Resources ordered by name, their devices by GPU index, MIG index and replica. Errors as for
// make_plan; appends to `warnings` entries and selectors without effect.
Result<std::vector<Resource>> share_devices(const inventory::Snapshot& snapshot,
                                            const config::Config& config, Pieces pieces,
                                            std::vector<std::string>& warnings);

}  // namespace kerf::plan
