// `kerf power`: limits of this machine's GPUs, shown, set and watched without an agent.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// The exit status: 0 done, 1 the driver or a GPU refused, 2 wrong arguments.
int run_power(std::span<const std::string> args);

}  // namespace kerf::cli
