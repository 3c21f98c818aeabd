// What NVIDIA's hook program must do when a container is created: links to libraries, the linker's
// cache and the like, which mounts alone cannot bring about. Runtime contract §2.3. Pure.
#pragma once

#include <string>
#include <vector>

#include "cdi/driver_tree.h"
#include "cdi/types.h"
#include "config/types.h"

namespace kerf::cdi {

// The program, as a path on the host; the default where an empty one is configured.
std::string hook_program(const config::Config& config);

// Those for every container, without the disabled ones (cdi_disable_hooks: names, or "all").
std::vector<Hook> common_hooks(const config::Config& config, const DriverTree& tree);

// The one that makes `links`; none when there are no links or it is disabled.
std::vector<Hook> link_hook(const config::Config& config, const std::vector<DriverLink>& links);

}  // namespace kerf::cdi
