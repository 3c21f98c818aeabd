// What a container runtime tells a hook: the container's state on standard input, and in it the
// bundle, whose config.json says where the root file system lies. Source: OCI runtime
// specification 1.0, "State" and "POSIX-platform Hooks". Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kerf::hook {

// The bundle's directory, from the state's JSON. kInvalid when it is no such thing.
Result<std::string> bundle_of(std::string_view state);

// The container's root, from config.json's text: below `bundle` unless it is absolute.
Result<std::string> root_of(std::string_view config, const std::string& bundle);

}  // namespace kerf::hook
