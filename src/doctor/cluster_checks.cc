#include "doctor/cluster_checks.h"

#include <algorithm>

#include "base/strings.h"
#include "doctor/node_checks.h"
#include "doctor/selection.h"

#include <fmt/format.h>

namespace kerf::doctor {
namespace {

constexpr std::size_t kMostPodsNamed = 5;
constexpr std::size_t kLongestMessage = 600;

// One line, its end kept: that is where a log says what went wrong.
std::string line_of(std::string_view text) {
  std::string out;
  for (const std::string& piece : split(text, '\n')) {
    if (trim(piece).empty()) continue;
    if (!out.empty()) out += " | ";
    out += trim(piece);
  }
  if (out.size() > kLongestMessage) out = "…" + out.substr(out.size() - kLongestMessage);
  return valid_utf8(out);
}

std::string name_of(const PodObject& pod) { return pod.name_space + "/" + pod.name; }

// --- the whole cluster ---------------------------------------------------------------------------

void examine_plugins(const ClusterFacts& cluster, Findings& out) {
  if (!cluster.plugins_known) return;
  if (cluster.plugins.empty()) {
    out.push_back({Severity::kError, "plugin", "no device plugin for GPUs in the cluster",
                   "Apply one: kubectl apply -k infrastructure/controllers/nvidia-device-plugin/"});
    return;
  }
  for (const DaemonSetObject& set : cluster.plugins) {
    const std::string name = "DaemonSet " + set.name_space + "/" + set.name;
    out.push_back({Severity::kOk, "plugin", name, ""});
    for (const std::string& complaint : set.complaints) {
      out.push_back({Severity::kWarning, "plugin.events", name + ": " + line_of(complaint), ""});
    }
    if (cluster.nodes.empty() || std::ranges::any_of(cluster.nodes, [&](const NodeObject& node) {
          return selects(set, node);
        })) {
      continue;
    }
    if (!cluster.one_node) {
      out.push_back(
          {Severity::kError, "plugin.selector",
           name + " selects no node: it asks for " + asks_for(set),
           "Label the nodes that have GPUs, by node-feature-discovery or by hand: kubectl "
           "label node NODE nvidia.com/gpu.present=true; or change its nodeSelector."});
    }
  }
}

void examine_runtime_classes(const ClusterFacts& cluster, Findings& out) {
  if (!cluster.runtime_classes) return;
  const auto there = [&](const std::string& name) {
    return std::ranges::find(*cluster.runtime_classes, name) != cluster.runtime_classes->end();
  };
  const std::string remedy =
      "kubectl apply -f deploy/kustomize/base/runtimeclass.yaml; the nodes' runtime must have a "
      "handler of that name.";
  for (const DaemonSetObject& set : cluster.plugins) {
    if (set.runtime_class.empty() || there(set.runtime_class)) continue;
    out.push_back(
        {Severity::kError, "runtime-class",
         fmt::format("no RuntimeClass {}, which the pods of DaemonSet {}/{} ask for: they "
                     "are refused",
                     set.runtime_class, set.name_space, set.name),
         remedy});
    if (set.runtime_class == "nvidia") return;
  }
  if (there("nvidia")) {
    out.push_back({Severity::kOk, "runtime-class", "RuntimeClass nvidia", ""});
  } else {
    out.push_back({Severity::kWarning, "runtime-class",
                   "no RuntimeClass nvidia: pods with runtimeClassName: nvidia are refused",
                   remedy});
  }
}

std::string remedy_of_waiting(const std::string& why) {
  if (why.find("Insufficient nvidia.com/") != std::string::npos) {
    return "Wait for a pod to end, cut GPUs into more slices (sharing.timeSlicing), or add GPUs.";
  }
  if (why.find("affinity") != std::string::npos || why.find("selector") != std::string::npos) {
    return "Compare the pod's nodeSelector and affinity with the labels of the GPU nodes: kubectl "
           "get "
           "nodes --show-labels.";
  }
  if (why.find("taint") != std::string::npos) {
    return "Give the pod the toleration: key nvidia.com/gpu, operator Exists, effect NoSchedule.";
  }
  return "";
}

void examine_waiting_pods(const ClusterFacts& cluster, Findings& out) {
  if (!cluster.gpu_pods) return;
  std::size_t waiting = 0;
  for (const PodObject& pod : *cluster.gpu_pods) {
    if (pod.unscheduled.empty() || ++waiting > kMostPodsNamed) continue;
    out.push_back({Severity::kWarning, "pods.pending",
                   "pod " + name_of(pod) + " waits for a GPU: " + line_of(pod.unscheduled),
                   remedy_of_waiting(pod.unscheduled)});
  }
  if (waiting > kMostPodsNamed) {
    out.push_back({Severity::kWarning, "pods.pending",
                   fmt::format("{} more pods wait for a GPU", waiting - kMostPodsNamed), ""});
  }
}

// --- one node ------------------------------------------------------------------------------------

bool has_gpus(const NodeObject& node) {
  return !gpu_labels(node).empty() || !node.capacity.empty();
}

void examine_talos(const NodeObject& node, Findings& out) {
  if (!node.os_image.starts_with("Talos")) return;
  std::vector<std::string> names;
  for (const auto* from : {&node.labels, &node.annotations}) {
    for (const auto& [key, value] : *from) {
      if (key.starts_with("extensions.talos.dev/")) names.push_back(key);
    }
  }
  // Before 1.8 Talos did not publish them.
  if (names.empty()) return;
  for (Finding& finding : examine_extensions(names)) {
    finding.what = "node " + node.name + ": " + finding.what;
    out.push_back(std::move(finding));
  }
}

// Says why no plugin's DaemonSet wants the node; nullptr when one does.
const DaemonSetObject* examine_selection(const ClusterFacts& cluster, const NodeObject& node,
                                         Findings& out) {
  const DaemonSetObject* near = nullptr;
  for (const DaemonSetObject& set : cluster.plugins) {
    if (!selects(set, node)) continue;
    near = &set;
    if (repelled_by(set, node).empty()) return &set;
  }
  if (near == nullptr) {
    std::vector<std::string> asked;
    asked.reserve(cluster.plugins.size());
    for (const DaemonSetObject& set : cluster.plugins) {
      asked.push_back("DaemonSet " + set.name_space + "/" + set.name + " asks for " +
                      asks_for(set));
    }
    const std::vector<std::string> labels = gpu_labels(node);
    out.push_back(
        {Severity::kError, "node.selector",
         fmt::format("node {} is not selected: {}; the node {}", node.name, join(asked, "; "),
                     labels.empty() ? "has no label that tells of an NVIDIA GPU"
                                    : "has " + join(labels, ", ")),
         labels.empty() ? "Let node-feature-discovery label it, or kubectl label node " +
                              node.name + " nvidia.com/gpu.present=true"
                        : "Ask for a label that the node has, in the DaemonSet's nodeSelector or "
                          "affinity, or let node-feature-discovery set the one asked for "
                          "(deviceLabelFields)."});
    return nullptr;
  }
  std::vector<std::string> taints;
  for (const Taint& taint : repelled_by(*near, node)) taints.push_back(to_string(taint));
  out.push_back({Severity::kError, "node.taint",
                 fmt::format("node {} has taints that DaemonSet {}/{} does not tolerate: {}",
                             node.name, near->name_space, near->name, join(taints, ", ")),
                 "Add the tolerations to the DaemonSet, or take the taints off the node."});
  return nullptr;
}

// True when the container is in trouble, of which a finding is made.
bool examine_container(const PodObject& pod, const ContainerState& container, Findings& out) {
  const bool waits = !container.waiting.empty() && container.waiting != "ContainerCreating" &&
                     container.waiting != "PodInitializing";
  const bool failed = container.restarts > 0 && !container.last_reason.empty();
  if (!waits && !failed) return false;
  std::string what = fmt::format("pod {}, container {}: ", name_of(pod), container.name);
  if (waits) what += container.waiting + " " + line_of(container.message);
  if (failed) {
    what += fmt::format("{}started anew {} times, last ended with {} ({}) {}", waits ? "; " : "",
                        container.restarts, container.last_exit, container.last_reason,
                        line_of(container.last_message));
  }
  std::string remedy = fmt::format("kubectl logs -n {} {} -c {} --previous", pod.name_space,
                                   pod.name, container.name);
  if (container.waiting.find("Image") != std::string::npos) {
    remedy =
        "Bring the image onto the node, or name a registry that has it (images: in the "
        "kustomization).";
  } else if (container.last_reason == "OOMKilled") {
    remedy = "Raise the container's memory limit.";
  }
  out.push_back({waits ? Severity::kError : Severity::kWarning, "node.plugin-pod",
                 std::string(trim(what)), remedy});
  return true;
}

void examine_plugin_pod(const ClusterFacts& cluster, const NodeObject& node,
                        const DaemonSetObject& set, Findings& out) {
  bool any = false;
  for (const PodObject& pod : cluster.plugin_pods) {
    if (pod.node != node.name) continue;
    any = true;
    bool trouble = false;
    for (const ContainerState& container : pod.containers) {
      trouble |= examine_container(pod, container, out);
    }
    if (trouble) continue;
    const std::string more =
        pod.reason.empty() ? "" : ": " + pod.reason + " " + line_of(pod.message);
    const bool runs = pod.phase == "Running";
    out.push_back(
        {runs ? Severity::kOk : Severity::kError, "node.plugin-pod",
         "pod " + name_of(pod) + " is " + pod.phase + more,
         runs ? "" : fmt::format("kubectl describe pod -n {} {}", pod.name_space, pod.name)});
  }
  if (!any) {
    out.push_back(
        {Severity::kError, "node.plugin-pod",
         fmt::format("no pod of DaemonSet {}/{} on node {}, although it is selected",
                     set.name_space, set.name, node.name),
         fmt::format("kubectl describe daemonset -n {} {} says what its pods are refused for.",
                     set.name_space, set.name)});
  }
}

void examine_amounts(const ClusterFacts& cluster, const NodeObject& node, Findings& out) {
  if (node.capacity.empty()) {
    out.push_back(
        {Severity::kError, "node.capacity", "node " + node.name + " has no nvidia.com/ resource",
         "See what the plugin's pod on it says: kerf status, or /health on its port 2112."});
    return;
  }
  const bool has_some =
      std::ranges::any_of(node.capacity, [](const auto& resource) { return resource.second > 0; });
  for (const auto& [name, capacity] : node.capacity) {
    if (capacity == 0 && has_some) {
      // Until it is restarted a kubelet keeps the name of what went away.
      out.push_back({Severity::kWarning, "node.capacity",
                     fmt::format("node {}: nobody advertises {} any more", node.name, name),
                     "Nothing, if its GPUs were partitioned or named anew; a restarted kubelet "
                     "forgets the name."});
      continue;
    }
    const auto found = node.allocatable.find(name);
    const std::uint64_t allocatable = found == node.allocatable.end() ? 0 : found->second;
    std::string what = fmt::format("node {}: {} of {} {} can be given out", node.name, allocatable,
                                   capacity, name);
    if (cluster.gpu_pods) {
      std::uint64_t taken = 0;
      for (const PodObject& pod : *cluster.gpu_pods) {
        const auto request = pod.requests.find(name);
        if (pod.node == node.name && request != pod.requests.end()) taken += request->second;
      }
      what += fmt::format(", pods have {}", taken);
    }
    if (capacity == 0 || allocatable == 0) {
      out.push_back({Severity::kError, "node.capacity", what,
                     "The plugin withdrew its GPUs or does not run; /health of its pod says why."});
    } else if (allocatable < capacity) {
      out.push_back({Severity::kWarning, "node.capacity", what,
                     "The others are unhealthy; /health of the plugin's pod says why."});
    } else {
      out.push_back({Severity::kOk, "node.capacity", what, ""});
    }
  }
}

void examine_one(const ClusterFacts& cluster, const NodeObject& node, Findings& out) {
  if (!node.ready) {
    out.push_back({Severity::kError, "node.ready", "node " + node.name + " is not ready",
                   "kubectl describe node " + node.name});
  }
  if (node.unschedulable) {
    out.push_back({Severity::kWarning, "node.ready", "node " + node.name + " is cordoned",
                   "kubectl uncordon " + node.name});
  }
  examine_talos(node, out);
  if (!cluster.plugins.empty()) {
    if (const DaemonSetObject* set = examine_selection(cluster, node, out)) {
      examine_plugin_pod(cluster, node, *set, out);
    }
  }
  examine_amounts(cluster, node, out);
}

}  // namespace

Findings examine_cluster(const ClusterFacts& cluster) {
  Findings out;
  for (const std::string& refused : cluster.not_told) {
    out.push_back({Severity::kSkipped, "api", refused,
                   "Ask with rights that can see it: kerf doctor --kubeconfig FILE."});
  }
  examine_plugins(cluster, out);
  examine_runtime_classes(cluster, out);
  examine_waiting_pods(cluster, out);
  std::size_t looked_at = 0;
  for (const NodeObject& node : cluster.nodes) {
    const bool selected = std::ranges::any_of(
        cluster.plugins, [&](const DaemonSetObject& set) { return selects(set, node); });
    if (!cluster.one_node && !has_gpus(node) && !selected) continue;
    ++looked_at;
    examine_one(cluster, node, out);
  }
  if (looked_at == 0 && !cluster.nodes.empty()) {
    out.push_back({Severity::kWarning, "nodes",
                   fmt::format("none of {} nodes has a label or a resource that tells of a GPU",
                               cluster.nodes.size()),
                   "Install node-feature-discovery, or kubectl label node NODE "
                   "nvidia.com/gpu.present=true; --node-name NODE looks at one in any case."});
  }
  return out;
}

}  // namespace kerf::doctor
