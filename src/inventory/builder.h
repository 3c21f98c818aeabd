// Reads the node through the driver and the kernel's trees into a Snapshot. Each GPU is read by a
// call of its own on the lane, so that one that fails or hangs costs itself alone. Nothing here
// remembers or marks anything: what to make of a fault is health's business.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/roots.h"
#include "inventory/types.h"
#include "nvml/errors.h"
#include "nvml/events.h"
#include "nvml/lane.h"

namespace kerf::inventory {

// The way to the driver: calls run on `lane` against the session in `slot`. The slot is shared
// because a call that hangs outlives whoever asked.
struct DriverAccess {
  nvml::Lane& lane;
  std::shared_ptr<nvml::SessionSlot> slot;
  std::chrono::milliseconds limit;  // deadline of one call
};

// Why a GPU of the snapshot could not be read; what the snapshot says of it is the last known.
struct GpuFault {
  enum class Cause {
    kLost,         // listed, but off the bus
    kUnlisted,     // the driver no longer lists it
    kStuck,        // its queries hang
    kQueryFailed,  // it answers with errors
  };
  std::string uuid;
  Cause cause = Cause::kQueryFailed;
  std::string detail;

  bool operator==(const GpuFault&) const = default;
};

struct Reading {
  std::vector<Gpu> gpus;  // ordered by index; not marked
  std::vector<GpuFault> faults;
  unsigned listed = 0;                // GPUs that the driver counts
  std::vector<std::string> warnings;  // whole sentences; also of GPUs that had to be left out
};

// Loads the library and initialises the driver unless the slot already holds a session. Leaves the
// session in the slot. `access.limit` covers all of it.
Result<Driver> start_driver(const DriverAccess& access, std::vector<std::string> candidates,
                            std::shared_ptr<nvml::CallCounters> counters);

// Reads all GPUs. A GPU that cannot be read stays as it was in `last`; one that `last` does not
// know is left out with a warning. GPUs named "DGX Display" are left out. Fails only when the
// driver as a whole does: kTimeout when it hangs.
Result<Reading> read_gpus(const DriverAccess& access, const Roots& roots,
                          const std::vector<Gpu>& last);

// A cheap look whether the driver still answers, still counts `listed` GPUs and still reaches each
// of them. True when a full reading is called for.
Result<bool> looks_different(const DriverAccess& access, unsigned listed);

// How these GPUs reach each other: PCIe topology and direct NVLinks (those to switches do not
// count). Hundreds of calls on a large node; read once for a set of GPUs. A pair that cannot be
// read is left at 0 with a warning.
struct LinkReading {
  std::vector<Link> links;
  std::vector<std::string> warnings;
};
Result<LinkReading> read_links(const DriverAccess& access, const std::vector<Gpu>& gpus);

}  // namespace kerf::inventory
