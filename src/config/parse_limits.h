// What one client of MPS may use, as written in sharing.mps.resources[].limits. Internal to the
// room.
#pragma once

#include <optional>
#include <string>

#include "config/reader.h"
#include "config/types.h"

namespace kerf::config {

// {memory: 4Gi, threadPercentage: 25}, each optional. Null: no limits. nullopt after a finding.
std::optional<MpsLimits> read_limits(Reader& reader, const Node& node, const std::string& path);

}  // namespace kerf::config
