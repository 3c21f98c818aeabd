// The counter lists that come with the program, so that it also works where no file is mounted.
#pragma once

#include <string_view>

namespace kerf::exporter {

// The text of a list by the path at which NVIDIA's image has it ("/etc/dcgm-exporter/
// default-counters.csv", "…/dcp-metrics-included.csv", "…/1.x-compatibility-metrics.csv"), or
// kerf's own ("…/kerf-counters.csv"); empty for any other path. The first two are the same list
// here, kerf's is that list and what its dashboards and alerts need besides.
std::string_view shipped_list(std::string_view path);

}  // namespace kerf::exporter
