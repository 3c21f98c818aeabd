// The driver's application profile by which EGL and Vulkan see only the GPUs whose device nodes the
// container has; without it they try all GPUs of the host, and fail at those without a node.
// Runtime contract §2.3; the mask's meaning: "EGLVisibleDGPUDevices" in the driver's README,
// Application Profiles.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "hook/container_root.h"

namespace kerf::hook {

// Whether that is the name of a GPU's node in /dev: "nvidia0", and not "nvidiactl". Pure.
bool is_gpu_node(std::string_view name);
// The profile that lets programs see the GPUs whose minor number is a bit of `minors`. Pure.
std::string profile_of(std::uint64_t minors);

// Looks at the container's /dev and writes the profile there. Nothing without a GPU's node. What it
// did, in words.
Result<std::string> update_application_profile(const ContainerRoot& root);

}  // namespace kerf::hook
