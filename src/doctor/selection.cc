#include "doctor/selection.h"

#include <algorithm>

#include "base/strings.h"

namespace kerf::doctor {
namespace {

// GPU feature discovery and the GPU operator set the first, node-feature-discovery one of the
// others, by which fields of a PCI device its configuration joins.
constexpr std::string_view kGpuLabels[] = {"nvidia.com/gpu.present",
                                           "feature.node.kubernetes.io/pci-10de.present",
                                           "feature.node.kubernetes.io/pci-0300_10de.present",
                                           "feature.node.kubernetes.io/pci-0302_10de.present"};

// Added by the DaemonSet controller to all its pods.
constexpr std::string_view kAlwaysTolerated[] = {
    "node.kubernetes.io/not-ready",          "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",      "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",       "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/network-unavailable"};

bool tolerates(const Toleration& toleration, const Taint& taint) {
  if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
  if (toleration.op == "Exists") return toleration.key.empty() || toleration.key == taint.key;
  return toleration.key == taint.key && toleration.value == taint.value;
}

bool all_hold(const Term& term, const NodeObject& node) {
  // No requirement at all: the term matches nothing.
  return !term.empty() && std::ranges::all_of(term, [&](const Requirement& r) {
    if (r.key != "metadata.name") return holds(r, node.labels);
    return holds(r, {{"metadata.name", node.name}});
  });
}

std::string text_of(const Requirement& r) {
  if (r.op == "Exists") return r.key + " is set";
  if (r.op == "DoesNotExist") return r.key + " is not set";
  const std::string values = join(r.values, " or ");
  if (r.op == "In") return r.key + "=" + values;
  if (r.op == "NotIn") return r.key + " is not " + values;
  return r.key + (r.op == "Gt" ? " > " : " < ") + values;
}

std::string text_of(const Term& term) {
  std::vector<std::string> parts;
  parts.reserve(term.size());
  for (const Requirement& r : term) parts.push_back(text_of(r));
  return join(parts, " and ");
}

}  // namespace

bool holds(const Requirement& requirement, const std::map<std::string, std::string>& labels) {
  const auto found = labels.find(requirement.key);
  const bool there = found != labels.end();
  const auto listed = [&] {
    return std::ranges::find(requirement.values, found->second) != requirement.values.end();
  };
  if (requirement.op == "Exists") return there;
  if (requirement.op == "DoesNotExist") return !there;
  if (requirement.op == "In") return there && listed();
  if (requirement.op == "NotIn") return !there || !listed();
  if (!there || requirement.values.size() != 1) return false;
  const auto have = parse_u64(found->second);
  const auto wanted = parse_u64(requirement.values[0]);
  if (!have || !wanted) return false;
  if (requirement.op == "Gt") return *have > *wanted;
  return requirement.op == "Lt" && *have < *wanted;
}

bool selects(const DaemonSetObject& set, const NodeObject& node) {
  const bool by_selector = std::ranges::all_of(
      set.selector, [&](const Requirement& r) { return holds(r, node.labels); });
  return by_selector && (set.affinity.empty() ||
                         std::ranges::any_of(
                             set.affinity, [&](const Term& term) { return all_hold(term, node); }));
}

std::string asks_for(const DaemonSetObject& set) {
  std::vector<std::string> terms;
  terms.reserve(set.affinity.size());
  for (const Term& term : set.affinity) terms.push_back(text_of(term));
  std::string out = text_of(set.selector);
  if (terms.empty()) return out;
  const bool both = !out.empty() && terms.size() > 1;
  if (!out.empty()) out += " and ";
  return out + (both ? "(" : "") + join(terms, ", or ") + (both ? ")" : "");
}

std::vector<Taint> repelled_by(const DaemonSetObject& set, const NodeObject& node) {
  std::vector<Taint> out;
  for (const Taint& taint : node.taints) {
    if (taint.effect != "NoSchedule" && taint.effect != "NoExecute") continue;
    if (std::ranges::find(kAlwaysTolerated, taint.key) != std::end(kAlwaysTolerated)) continue;
    if (std::ranges::any_of(set.tolerations,
                            [&](const Toleration& t) { return tolerates(t, taint); })) {
      continue;
    }
    out.push_back(taint);
  }
  return out;
}

std::string to_string(const Taint& taint) {
  return taint.key + (taint.value.empty() ? "" : "=" + taint.value) + ":" + taint.effect;
}

std::vector<std::string> gpu_labels(const NodeObject& node) {
  std::vector<std::string> out;
  for (std::string_view label : kGpuLabels) {
    const auto found = node.labels.find(std::string(label));
    if (found != node.labels.end() && found->second == "true") out.emplace_back(label);
  }
  return out;
}

}  // namespace kerf::doctor
