// `kerf config-manager`, also called as `config-manager`.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// Flags and environment of NVIDIA's config-manager (device-plugin contract §2.3). Returns the exit
// status: 1 for what the original refuses, 2 for arguments that cannot be read.
int run_config_manager(std::span<const std::string> args, const char* const* environment);

}  // namespace kerf::cli
