// From what has been measured of each container to the figures of its shares in the exporter. Pure.
#pragma once

#include <map>
#include <string>

#include "exporter/types.h"
#include "usage/account.h"

namespace kerf::agent {

// Readings in a row without knowledge of a GPU's processes after which it is given up. A process
// may end between being listed and being looked for; one out of sight stays so.
inline constexpr unsigned kUntoldRounds = 3;

// Whether it cannot be told who uses that GPU, because processes on it are out of sight (another
// process-id namespace than the host's) or in pods that nobody names, or the driver lists none.
bool is_untold(const usage::GpuUse& gpu);

// Fills Share::own of the shares in `shares`. `gpu_of` says of which GPU a device is, for MIG.
// Shares of a GPU of which it cannot be told keep the device's figure; one whose container was not
// there when the GPU was last read has figures that are not known yet. What a container uses is
// divided evenly among its shares of the device. Of MIG devices memory alone is known.
void fill_own_figures(exporter::Attribution& shares, const usage::Account& account,
                      const std::map<std::string, std::string>& gpu_of);

}  // namespace kerf::agent
