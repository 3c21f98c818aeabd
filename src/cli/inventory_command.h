// `kerf gpus`: the GPUs of this machine as PCI and NVML see them, without an agent.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// Exit status: 0, 1 when nothing could be read, 2 for wrong usage.
int run_gpus(std::span<const std::string> args);

}  // namespace kerf::cli
