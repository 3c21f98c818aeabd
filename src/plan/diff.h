// What differs between two plans, so that a reload touches only the resources it changes: no
// needless registration, no needless message to the kubelet. Pure.
#pragma once

#include <string>
#include <vector>

#include "plan/types.h"

namespace kerf::plan {

// Resource names, each list in order of name; no name is in two lists.
struct Diff {
  std::vector<std::string> added;     // to be served and registered
  std::vector<std::string> removed;   // to be advertised no more
  std::vector<std::string> relisted;  // ids, health or NUMA nodes differ: send a new list
  std::vector<std::string> retuned;  // same list, but Allocate or a preference may answer otherwise

  bool empty() const {
    return added.empty() && removed.empty() && relisted.empty() && retuned.empty();
  }
  bool operator==(const Diff&) const = default;
};

// Whoever serves a resource that is not named here may keep serving `before`.
Diff diff(const Plan& before, const Plan& after);

}  // namespace kerf::plan
