// From the plan's world to the accountant's: which devices a GPU has, and who holds what of them.
// Pure.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "inventory/types.h"
#include "pods/types.h"
#include "usage/types.h"

namespace kerf::usage {

// How many shares a device has been cut into, by uuid; 1 for those not named.
using Shares = std::map<std::string, unsigned>;

// Compute slices that a GPU of that model can be cut into when MIG is on. A model that is not known
// has 7, as all data centre boards but the smaller ones do. Source: metrics contract §5.3; NVIDIA's
// MIG guide.
unsigned compute_slices(std::string_view model);

// One layout a GPU, by uuid. A container that holds several shares of one device has them in one
// holding. With `quotas` the annotation kerf/gpu-memory of a pod (kerf/gpu-memory.<container> for
// one container) is its quota on each device it holds; what is no amount of memory is ignored.
std::map<std::string, Layout> layouts_of(const inventory::Snapshot& snapshot, const Shares& shares,
                                         std::span<const pods::PodDevice> held, bool quotas);

}  // namespace kerf::usage
