// `kerf agent`, also called as nvidia-device-plugin.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// Reads flags and environment, then runs the daemon until it is told to stop. Exit status: 0 after
// an orderly stop, 1 when it could not start, 2 for wrong usage.
int run_agent(std::span<const std::string> args, const char* const* environment);

}  // namespace kerf::cli
