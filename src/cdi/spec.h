// Which specifications a node needs: from what exists and how it is configured to what containers
// are given. Pure. Device-plugin contract §5.6, runtime contract §2.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cdi/driver_tree.h"
#include "cdi/types.h"
#include "config/types.h"
#include "inventory/types.h"

namespace kerf::cdi {

// Whether one of the device list strategies needs specifications.
bool wanted(const config::Config& config);

// `value` as --cdi-feature-flags has it, among the configured ones.
bool has_feature(const config::Config& config, std::string_view value);

struct Specs {
  std::vector<Spec> specs;  // in the order of kClasses; each passes check()
  // Classes that were asked for and have nothing to give on this machine: not an error.
  std::vector<std::string> empty;
  // Why there is no gpu specification although there are GPUs; one that is on disk stays.
  std::optional<Error> gpu_trouble;
  // What is unusual but served, in words.
  std::vector<std::string> notes;
};

// Devices of `gpu` are every GPU that is not in MIG mode and every MIG device, by UUID or index as
// configured; a GPU that fell off the bus is left out, and so its containers are refused instead of
// started without it. `imex_channels`: those that exist.
//
// In the gpu specification every file is looked up below nvidiaDriverRoot on the host and appears
// in the container without it; device nodes below nvidiaDevRoot.
Specs make_specs(const inventory::Snapshot& snapshot, const config::Config& config,
                 const DriverTree& tree, const std::vector<int>& imex_channels);

}  // namespace kerf::cdi
