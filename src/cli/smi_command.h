// `kerf smi`, also under the name nvidia-smi: the commands of nvidia-smi that people and scripts
// use to see GPUs and to set power limits, in its words and formats.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// The exit status is nvidia-smi's: 0 done, 2 wrong arguments, otherwise the driver's error code.
int run_smi(std::span<const std::string> args);

}  // namespace kerf::cli
