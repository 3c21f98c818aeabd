// From what the pods room knows to what the pages need. Pure.
#pragma once

#include <regex>
#include <span>
#include <string>
#include <vector>

#include "exporter/types.h"
#include "pods/types.h"

namespace kerf::exporter {

struct AttributionOptions {
  bool pod_labels = false;
  std::vector<std::regex> patterns;  // of labels that are wanted; empty: all
};

// Who holds which device, in the order of `devices`.
Attribution attribution_of(std::span<const pods::PodDevice> devices,
                           const AttributionOptions& options);

}  // namespace kerf::exporter
