// The configuration in force as NVIDIA's programs print it when they start ("Running with
// config:"), for scripts and people who compare the two. Key names, order and what is left out are
// those of device-plugin contract §1.3; on one line. kerf's own sections are not in it: `kerf
// config explain` shows everything.
#pragma once

#include <string>

#include "config/types.h"

namespace kerf::config {

// JSON. `labels`: with flags.gfd and flags.useNodeFeatureAPI, as gpu-feature-discovery prints it.
std::string dump(const Config& config, bool labels);

}  // namespace kerf::config
