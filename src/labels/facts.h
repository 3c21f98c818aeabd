// Reads what the labels need of the kernel, under Roots.
#pragma once

#include <string>
#include <vector>

#include "base/roots.h"
#include "labels/labels.h"

namespace kerf::labels {

struct Found {
  Facts facts;
  // What could not be learned, each a whole sentence; the labels concerned are then left out.
  std::vector<std::string> warnings;
};

// `machine_type_file` as configured: a path below the real sys tree is looked for below `roots`,
// any other is taken as it is. Blocks as long as sysfs does.
Found read_facts(const Roots& roots, const std::string& machine_type_file);

}  // namespace kerf::labels
