#include "doctor/objects.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <map>

#include "base/strings.h"

#include <nlohmann/json.hpp>

namespace kerf::doctor {
namespace {

using nlohmann::json;

constexpr std::size_t kMostComplaints = 2;

// What is at a path of keys; null when it is not there.
const json& at(const json& value, std::initializer_list<const char*> keys) {
  static const json kNothing;
  const json* here = &value;
  for (const char* key : keys) {
    if (!here->is_object()) return kNothing;
    const auto found = here->find(key);
    if (found == here->end()) return kNothing;
    here = &*found;
  }
  return *here;
}

std::string text_at(const json& value, std::initializer_list<const char*> keys) {
  const json& found = at(value, keys);
  return found.is_string() ? found.get<std::string>() : std::string();
}

unsigned number_at(const json& value, std::initializer_list<const char*> keys) {
  const json& found = at(value, keys);
  return found.is_number_unsigned() && found.get<std::uint64_t>() <= 1'000'000'000
             ? found.get<unsigned>()
             : 0;
}

// The elements of an array; none when it is something else.
const json& list_at(const json& value, std::initializer_list<const char*> keys) {
  static const json kEmpty = json::array();
  const json& found = at(value, keys);
  return found.is_array() ? found : kEmpty;
}

std::map<std::string, std::string> words_at(const json& value,
                                            std::initializer_list<const char*> keys) {
  std::map<std::string, std::string> out;
  const json& found = at(value, keys);
  if (!found.is_object()) return out;
  for (const auto& [key, word] : found.items()) {
    if (word.is_string()) out.emplace(key, word.get<std::string>());
  }
  return out;
}

Amounts amounts_at(const json& value, std::initializer_list<const char*> keys) {
  Amounts out;
  for (const auto& [name, text] : words_at(value, keys)) {
    const auto amount = parse_u64(text);
    if (name.starts_with("nvidia.com/") && amount) out[name] = *amount;
  }
  return out;
}

// The items of a list, or the object itself.
Result<std::vector<json>> objects_in(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return fail(Kind::kCorrupt, "the answer is no object");
  std::vector<json> out;
  if (!value.contains("items")) {
    out.push_back(std::move(value));
    return out;
  }
  for (const json& item : list_at(value, {"items"})) {
    if (item.is_object()) out.push_back(item);
  }
  return out;
}

NodeObject node_of(const json& object) {
  NodeObject node;
  node.name = text_at(object, {"metadata", "name"});
  node.labels = words_at(object, {"metadata", "labels"});
  node.annotations = words_at(object, {"metadata", "annotations"});
  for (const json& taint : list_at(object, {"spec", "taints"})) {
    node.taints.push_back(
        {text_at(taint, {"key"}), text_at(taint, {"value"}), text_at(taint, {"effect"})});
  }
  node.unschedulable = at(object, {"spec", "unschedulable"}) == json(true);
  for (const json& condition : list_at(object, {"status", "conditions"})) {
    if (text_at(condition, {"type"}) == "Ready") {
      node.ready = text_at(condition, {"status"}) == "True";
    }
  }
  node.os_image = text_at(object, {"status", "nodeInfo", "osImage"});
  node.capacity = amounts_at(object, {"status", "capacity"});
  node.allocatable = amounts_at(object, {"status", "allocatable"});
  return node;
}

bool is_plugin(const DaemonSetObject& set, const std::map<std::string, std::string>& labels) {
  constexpr std::string_view kName = "nvidia-device-plugin";
  for (const char* other : {"feature-discovery", "mps-control", "powerlimit"}) {
    if (set.name.find(other) != std::string::npos) return false;
  }
  const auto says = [&](const char* key) {
    const auto found = labels.find(key);
    return found != labels.end() && found->second.find(kName) != std::string::npos;
  };
  return set.name.find(kName) != std::string::npos || says("app.kubernetes.io/name") || says("app");
}

Requirement requirement_of(const json& value) {
  Requirement out{text_at(value, {"key"}), text_at(value, {"operator"}), {}};
  for (const json& each : list_at(value, {"values"})) {
    if (each.is_string()) out.values.push_back(each.get<std::string>());
  }
  return out;
}

DaemonSetObject daemon_set_of(const json& object) {
  DaemonSetObject set;
  set.name = text_at(object, {"metadata", "name"});
  set.name_space = text_at(object, {"metadata", "namespace"});
  set.pod_labels = words_at(object, {"spec", "selector", "matchLabels"});
  const json& pod = at(object, {"spec", "template", "spec"});
  for (const auto& [key, value] : words_at(pod, {"nodeSelector"})) {
    set.selector.push_back({key, "In", {value}});
  }
  for (const json& term :
       list_at(pod, {"affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
                     "nodeSelectorTerms"})) {
    Term& here = set.affinity.emplace_back();
    for (const char* kind : {"matchExpressions", "matchFields"}) {
      for (const json& each : list_at(term, {kind})) here.push_back(requirement_of(each));
    }
  }
  for (const json& each : list_at(pod, {"tolerations"})) {
    set.tolerations.push_back({text_at(each, {"key"}), text_at(each, {"operator"}),
                               text_at(each, {"value"}), text_at(each, {"effect"})});
  }
  set.runtime_class = text_at(pod, {"runtimeClassName"});
  set.desired = number_at(object, {"status", "desiredNumberScheduled"});
  set.ready = number_at(object, {"status", "numberReady"});
  return set;
}

ContainerState container_of(const json& status) {
  ContainerState out;
  out.name = text_at(status, {"name"});
  out.restarts = number_at(status, {"restartCount"});
  out.waiting = text_at(status, {"state", "waiting", "reason"});
  out.message = text_at(status, {"state", "waiting", "message"});
  const json& last = at(status, {"lastState", "terminated"});
  out.last_reason = text_at(last, {"reason"});
  out.last_exit = static_cast<int>(number_at(last, {"exitCode"}));
  out.last_message = text_at(last, {"message"});
  return out;
}

// What it needs at once: its containers together, or one that runs before them if that needs more.
Amounts requests_of(const json& spec) {
  const auto of = [](const json& container) {
    Amounts out = amounts_at(container, {"resources", "limits"});
    for (const auto& [name, amount] : amounts_at(container, {"resources", "requests"})) {
      out[name] = amount;
    }
    return out;
  };
  Amounts sum;
  for (const json& container : list_at(spec, {"containers"})) {
    for (const auto& [name, amount] : of(container)) sum[name] += amount;
  }
  for (const json& container : list_at(spec, {"initContainers"})) {
    for (const auto& [name, amount] : of(container)) sum[name] = std::max(sum[name], amount);
  }
  return sum;
}

PodObject pod_of(const json& object) {
  PodObject pod;
  pod.name = text_at(object, {"metadata", "name"});
  pod.name_space = text_at(object, {"metadata", "namespace"});
  pod.node = text_at(object, {"spec", "nodeName"});
  pod.phase = text_at(object, {"status", "phase"});
  pod.reason = text_at(object, {"status", "reason"});
  pod.message = text_at(object, {"status", "message"});
  for (const json& condition : list_at(object, {"status", "conditions"})) {
    if (text_at(condition, {"type"}) == "PodScheduled" &&
        text_at(condition, {"status"}) == "False") {
      pod.unscheduled = text_at(condition, {"message"});
    }
  }
  for (const char* kind : {"initContainerStatuses", "containerStatuses"}) {
    for (const json& status : list_at(object, {"status", kind})) {
      pod.containers.push_back(container_of(status));
    }
  }
  pod.requests = requests_of(at(object, {"spec"}));
  return pod;
}

template <typename T>
Result<std::vector<T>> each_of(std::string_view text, T (*read)(const json&)) {
  Result<std::vector<json>> objects = objects_in(text);
  if (!objects) return fail(std::move(objects.error()));
  std::vector<T> out;
  out.reserve(objects->size());
  for (const json& object : *objects) out.push_back(read(object));
  return out;
}

}  // namespace

Result<std::vector<NodeObject>> nodes_of(std::string_view text) { return each_of(text, node_of); }

Result<std::vector<PodObject>> pods_of(std::string_view text) { return each_of(text, pod_of); }

Result<std::vector<std::string>> names_of(std::string_view text) {
  return each_of<std::string>(
      text, [](const json& object) { return text_at(object, {"metadata", "name"}); });
}

Result<std::vector<DaemonSetObject>> plugins_of(std::string_view text) {
  Result<std::vector<json>> objects = objects_in(text);
  if (!objects) return fail(std::move(objects.error()));
  std::vector<DaemonSetObject> out;
  for (const json& object : *objects) {
    DaemonSetObject set = daemon_set_of(object);
    if (is_plugin(set, words_at(object, {"metadata", "labels"}))) out.push_back(std::move(set));
  }
  return out;
}

Result<std::vector<std::string>> complaints_of(std::string_view text, std::string_view kind,
                                               std::string_view name) {
  Result<std::vector<json>> objects = objects_in(text);
  if (!objects) return fail(std::move(objects.error()));
  std::multimap<std::string, std::string, std::greater<>> by_time;
  for (const json& event : *objects) {
    if (text_at(event, {"type"}) != "Warning" ||
        text_at(event, {"involvedObject", "kind"}) != kind ||
        text_at(event, {"involvedObject", "name"}) != name) {
      continue;
    }
    std::string when = text_at(event, {"lastTimestamp"});
    if (when.empty()) when = text_at(event, {"metadata", "creationTimestamp"});
    by_time.emplace(when, text_at(event, {"reason"}) + ": " + text_at(event, {"message"}));
  }
  std::vector<std::string> out;
  for (const auto& [when, complaint] : by_time) {
    if (out.size() < kMostComplaints && std::ranges::find(out, complaint) == out.end()) {
      out.push_back(complaint);
    }
  }
  return out;
}

}  // namespace kerf::doctor
