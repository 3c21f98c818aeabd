// One look at the driver without an agent, for commands that print and end.
#pragma once

#include <string>

#include "base/roots.h"
#include "inventory/types.h"

namespace kerf::cli {

struct DriverView {
  inventory::Snapshot snapshot;  // driver absent and no GPUs when there is nothing to be seen
  std::string why_not;           // why the driver does not answer; empty when it does
  std::string brief;             // the same without the remedy
};

// Loads `library` (a path), or searches for one below `container_driver_root` when it is empty.
// Takes at most about twenty seconds.
DriverView look_at_driver(const std::string& library, const std::string& container_driver_root,
                          const Roots& roots);

}  // namespace kerf::cli
