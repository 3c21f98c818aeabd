// Which GPUs and GPU instances are monitored: the value of -d. Pure. Source: metrics contract §1.5.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "exporter/types.h"
#include "inventory/types.h"

namespace kerf::exporter {

struct Selection {
  enum class What {
    kFlexible,   // "f": GPU instances where MIG is enabled and has some, else the GPU
    kGpus,       // "g", "g:0,2-3"
    kInstances,  // "i", "i:1-4"
  };
  What what = What::kFlexible;
  std::vector<unsigned> numbers;  // of GPUs, or of GPU instances; empty: all
  bool operator==(const Selection&) const = default;
};

// "f", "g", "i", "g:0,2-5", "i:0-3". Anything else is kInvalid.
Result<Selection> parse_selection(std::string_view text);

// What is monitored of a node, in the order of the exposition: by GPU index, then by instance.
// Compute instances of one GPU instance are one entity.
std::vector<Entity> select_entities(const inventory::Snapshot& snapshot,
                                    const Selection& selection);

// "0000:3b:00.0" as DCGM writes it: "00000000:3B:00.0".
std::string dcgm_bus_id(std::string_view sysfs);

}  // namespace kerf::exporter
