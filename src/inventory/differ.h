// What changed between two snapshots, for the log and the list of events. Pure.
#pragma once

#include <string>
#include <vector>

#include "inventory/types.h"

namespace kerf::inventory {

struct Change {
  enum class What {
    kDriver,     // state or version
    kAdded,      // a GPU or MIG device that was not there
    kRemoved,    // one that is gone from the list
    kUnhealthy,  // became unhealthy, or for another reason than before
    kRecovered,
    kChanged,  // anything else about a GPU
    kLinks,    // the link graph
  };
  What what = What::kChanged;
  std::string subject;  // uuid; "driver"; "links"
  std::string text;     // for people: "GPU-…: xid: Xid 79 …"
};

// Machine word of a change, for logs and events: "driver", "added", …
const char* to_string(Change::What what);
// "absent", "ready", "failed", "stuck".
const char* to_string(DriverState state);

// In a fixed order: driver, then GPU by GPU. Empty exactly when the snapshots say the same.
std::vector<Change> diff(const Snapshot& before, const Snapshot& after);

// Equal but for the generation.
bool same_content(const Snapshot& a, const Snapshot& b);

}  // namespace kerf::inventory
