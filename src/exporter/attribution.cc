#include "exporter/attribution.h"

#include <algorithm>

namespace kerf::exporter {

Attribution attribution_of(std::span<const pods::PodDevice> devices,
                           const AttributionOptions& options) {
  Attribution out;
  for (const pods::PodDevice& device : devices) {
    Share share;
    share.pod = device.owner.pod;
    share.name_space = device.owner.name_space;
    share.container = device.owner.container;
    share.replica = device.replica;
    if (device.facts) share.uid = device.facts->uid;
    if (device.facts && options.pod_labels) {
      for (const auto& [key, value] : device.facts->labels) {
        const bool wanted = options.patterns.empty() ||
                            std::ranges::any_of(options.patterns, [&](const std::regex& pattern) {
                              return std::regex_search(key, pattern);
                            });
        if (wanted) share.labels.emplace_back(key, value);
      }
    }
    out[device.uuid].push_back(std::move(share));
  }
  return out;
}

}  // namespace kerf::exporter
