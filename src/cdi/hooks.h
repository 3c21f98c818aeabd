// What the hook program must do when a container is created: links to libraries, the linker's
// cache and the like, which mounts alone cannot bring about. Runtime contract §2.3. Pure.
#pragma once

#include <string>
#include <vector>

#include "cdi/driver_tree.h"
#include "cdi/types.h"
#include "config/types.h"

namespace kerf::cdi {

// Where `kerf install-hook` puts kerf's own program, as the deployments mount it.
inline constexpr char kOwnHookProgram[] = "/opt/kerf/bin/kerf-cdi-hook";

// The programs that may serve, as paths on the host, best first: the configured one (the default
// where that is empty) and, where this process sees the host's files (the driver's root is the
// host's), NVIDIA's newer program and kerf's own.
std::vector<std::string> hook_programs(const config::Config& config);

// Those for every container, without the disabled ones (cdi_disable_hooks: names, or "all").
std::vector<Hook> common_hooks(const config::Config& config, const DriverTree& tree);

// The one that makes `links`; none when there are no links or it is disabled.
std::vector<Hook> link_hook(const config::Config& config, const DriverTree& tree,
                            const std::vector<DriverLink>& links);

}  // namespace kerf::cdi
