// A device's figure among those who share it: what is whose, so that the parts never exceed the
// whole. Pure.
#pragma once

#include <span>
#include <vector>

#include "exporter/fields.h"
#include "exporter/types.h"

namespace kerf::exporter {

// Memory used, activity, power and energy are somebody's; temperatures, clocks and the like are the
// device's alone. Of a GPU instance (`mig`) memory alone: activity is not told, and power and
// energy are those of all its GPU.
bool can_be_split(const Field& field, bool mig);

// One figure for each of `shares` (null is nobody's), blank where it is not known. Gauges add up to
// `whole` at most, the rest is nobody's: whole numbers are rounded so that nothing comes or goes.
// `whole` may be of another moment than what the shares say; a blank one has blank parts.
std::vector<Value> split(const Field& field, const Value& whole,
                         std::span<const Share* const> shares);

}  // namespace kerf::exporter
