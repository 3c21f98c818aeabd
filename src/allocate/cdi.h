// The part of Allocate that names CDI devices: as annotations, as the kubelet's own field, or both.
// Pure. Device-plugin contract §5.3, step 1.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "allocate/host_facts.h"
#include "base/result.h"
#include "config/types.h"
#include "edits/types.h"

namespace kerf::allocate {

// Qualified names for one container, in the contract's order: a gpu for each of `names`, the IMEX
// channels, then what is switched on of gdrcopy, gds and mofed, as far as this machine has it.
// Error: kNotFound when a name could not be resolved by a container runtime; the text is what
// NVIDIA's plugin answers up to the reason.
Result<std::vector<std::string>> cdi_devices(const config::Config& config,
                                             std::span<const std::string_view> names,
                                             const HostFacts& host);

// The annotation's key: `prefix`, "nvidia-device-plugin_" and a UUID made from the resource and the
// ids given out. The same request always has the same key; no two containers alive on a node, and
// no two resources of one container, share one. NVIDIA's plugin draws a random UUID.
std::string cdi_annotation_key(std::string_view prefix, std::string_view resource,
                               std::span<const std::string_view> ids);

// The edits that name `devices` under the configured strategies; empty without a CDI strategy.
edits::Edits cdi_edits(const config::Config& config, std::string key,
                       const std::vector<std::string>& devices);

}  // namespace kerf::allocate
