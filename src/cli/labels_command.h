// `kerf labels`: what this node would be labelled with. `kerf gpu-feature-discovery`, also called
// by that name: the agent as a drop-in for NVIDIA's program, doing labels alone.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// Exit status: 0 printed, 1 when labels cannot be made, 2 for wrong usage.
int run_labels(std::span<const std::string> args, const char* const* environment);

// Exit status: 0 after an orderly stop or, with --oneshot, when the labels are set; 1 when it could
// not start or not set them; 2 for wrong usage.
int run_feature_discovery(std::span<const std::string> args, const char* const* environment);

}  // namespace kerf::cli
