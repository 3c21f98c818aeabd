// `mps-control-daemon`, as NVIDIA's program of that name: the agent with the component mps alone;
// and `mount-shm`.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

int run_mps_control_daemon(std::span<const std::string> args, const char* const* environment);

}  // namespace kerf::cli
