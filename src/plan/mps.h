// What MPS can serve: checked while planning, so that a configuration that cannot work is refused
// before anything is started. Pure. Source: device-plugin contract §3, §10.2.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/types.h"
#include "inventory/types.h"
#include "plan/types.h"

namespace kerf::plan {

// How many clients MPS serves on a GPU of this compute capability.
unsigned max_mps_clients(int compute_major, int compute_minor);

// Whether `entry`, which stands at `place` in the configuration, may share this GPU. A GPU whose
// capability is not known is not judged. Errors: kUnsupported (MIG), kInvalid.
Status check_mps(const inventory::Gpu& gpu, bool is_mig, const config::SharedResource& entry,
                 const std::string& place);

// The entry whose thread percentage differs from that of the first, if there is one.
std::optional<std::size_t> differing_threads(const config::Sharing& sharing,
                                             const std::vector<MpsGpu>& gpus);

}  // namespace kerf::plan
