// The part of `discover` that looks for libraries. Internal to the room.
#pragma once

#include "cdi/driver_tree.h"
#include "cdi/rooted.h"

namespace kerf::cdi {

// Fills version, library_dir, libraries, library_dirs and links. The folder is the first of the
// usual ones with a libcuda.so.<version>, or else a libnvidia-ml.so.<version>.
void find_libraries(const Rooted& root, const DiscoverOptions& options, DriverTree& tree);

}  // namespace kerf::cdi
