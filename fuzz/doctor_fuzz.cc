// Kubernetes objects as some API server, operator or pod may have written them, up to the report:
// no crash, no control character in what is printed, and JSON that is closed.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "doctor/cluster_checks.h"
#include "doctor/node_checks.h"
#include "doctor/objects.h"
#include "doctor/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kerf::doctor;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ClusterFacts cluster;
  cluster.plugins_known = true;
  if (auto nodes = nodes_of(text)) cluster.nodes = *std::move(nodes);
  if (auto plugins = plugins_of(text)) cluster.plugins = *std::move(plugins);
  if (auto names = names_of(text)) cluster.runtime_classes = *std::move(names);
  if (auto pods = pods_of(text)) {
    cluster.plugin_pods = *pods;
    cluster.gpu_pods = *std::move(pods);
  }
  for (DaemonSetObject& set : cluster.plugins) {
    if (auto events = complaints_of(text, "DaemonSet", set.name)) set.complaints = *events;
  }
  const std::vector<Section> sections = {{"node", "", examine_extensions(extension_names(text))},
                                         {"cluster", "", examine_cluster(cluster)}};
  const std::string shown = to_text(sections, false);
  const auto steers = [](char c) { return c != '\n' && static_cast<unsigned char>(c) < 0x20; };
  if (std::any_of(shown.begin(), shown.end(), steers)) std::abort();
  if (!to_json(sections).ends_with("\n]}\n")) std::abort();
  return 0;
}
