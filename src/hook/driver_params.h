// The driver's switch by which libraries in a container would make and change device nodes: shown
// to them as off, by a file mounted over the one in the container's proc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/roots.h"
#include "hook/container_root.h"

namespace kerf::hook {

// The driver's parameters with the switch off; nothing when it is off, or not among them.
std::optional<std::string> without_device_changes(std::string_view params);

// Must run in the container's mount namespace, not the host's (kConflict). What it did, in words.
Result<std::string> disable_device_changes(const ContainerRoot& root, const Roots& host);

}  // namespace kerf::hook
