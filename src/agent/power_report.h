// What the component "power" found, as problems of the node and as metric families. Pure.
#pragma once

#include <vector>

#include "metrics/exposition.h"
#include "metrics/node_status.h"
#include "power/controller.h"

namespace kerf::agent {

// What a person must see to; a board without limits is none.
std::vector<metrics::Problem> power_problems(const power::Report& report);

// kerf_power_…; watts, with gpu and uuid as labels.
std::vector<metrics::Family> power_families(const power::Report& report);

}  // namespace kerf::agent
