// Names of resources and devices as a config file writes them. Internal to the room. Source:
// device-plugin contract §1.4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "config/types.h"

namespace kerf::config {

inline constexpr std::string_view kResourcePrefix = "nvidia.com/";

// Adds the prefix where it is missing and checks length (63 in all) and characters (an RFC 1123
// subdomain after the slash). The error is kInvalid with the contract's text.
Result<std::string> resource_name(std::string_view text);

// "0", "0:1", "GPU-<uuid>", "MIG-<uuid>", "MIG-GPU-<uuid>/<gi>/<ci>"; and, kerf's own, a PCI
// address
// ("0000:3b:00.0", domain of 8 digits or none at all) or "model:<pattern>". nullopt for anything
// else.
std::optional<DeviceRef> device_ref(std::string_view text);

}  // namespace kerf::config
