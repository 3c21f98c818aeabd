#include "labels/objects.h"

#include <set>
#include <utility>

#include "base/strings.h"
#include "kube/client.h"

#include <nlohmann/json.hpp>

namespace kerf::labels {
namespace {

using nlohmann::json;

constexpr const char* kApiVersion = "nfd.k8s-sigs.io/v1alpha1";
constexpr const char* kNodeName = "nfd.node.kubernetes.io/node-name";

// Null when it is no JSON object.
json object_from(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  return value.is_object() ? value : json();
}

// The member, or null.
json member(const json& object, const char* name) {
  auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : json();
}

std::string text_of(const json& object, const char* name) {
  json value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

json to_json(const Labels& labels) {
  json out = json::object();
  for (const auto& [key, value] : labels) out[key] = value;
  return out;
}

json spec_with(const Labels& labels) {
  json features = {
      {"flags", json::object()}, {"attributes", json::object()}, {"instances", json::object()}};
  return {{"features", std::move(features)}, {"labels", to_json(labels)}};
}

json owners_list(std::string_view owners) {
  json list = json::parse(owners, nullptr, false);
  return list.is_array() ? list : json::array();
}

Unexpected no_object(const char* what) {
  return fail(Kind::kCorrupt, std::string("the API server's answer is no ") + what);
}

// What the annotation lists.
std::set<std::string> set_before(const json& metadata) {
  std::set<std::string> keys;
  std::string listed = text_of(member(metadata, "annotations"), std::string(kSetByUs).c_str());
  for (std::string& key : split(listed, ',')) {
    if (!key.empty()) keys.insert(std::move(key));
  }
  return keys;
}

}  // namespace

std::string node_feature_name(std::string_view node) {
  return "nvidia-features-for-" + std::string(node);
}

std::string node_features_path(std::string_view name_space) {
  return "/apis/" + std::string(kApiVersion) + "/namespaces/" + kube::escape(name_space) +
         "/nodefeatures";
}

std::string node_path(std::string_view node) { return "/api/v1/nodes/" + kube::escape(node); }

std::string pod_path(std::string_view name_space, std::string_view pod) {
  return "/api/v1/namespaces/" + kube::escape(name_space) + "/pods/" + kube::escape(pod);
}

Result<std::string> owners_from_pod(std::string_view pod) {
  json metadata = member(object_from(pod), "metadata");
  std::string name = text_of(metadata, "name");
  std::string uid = text_of(metadata, "uid");
  if (name.empty() || uid.empty()) return no_object("pod");
  json owners = json::array();
  for (const json& owner : member(metadata, "ownerReferences")) {
    if (text_of(owner, "kind") != "DaemonSet" || text_of(owner, "name").empty()) continue;
    owners.push_back({{"apiVersion", text_of(owner, "apiVersion")},
                      {"kind", "DaemonSet"},
                      {"name", text_of(owner, "name")},
                      {"uid", text_of(owner, "uid")},
                      {"controller", true}});
    owners.push_back({{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", name}, {"uid", uid}});
    break;
  }
  return owners.dump();
}

std::string new_node_feature(std::string_view node, std::string_view name_space,
                             const Labels& labels, std::string_view owners) {
  json metadata = {{"name", node_feature_name(node)},
                   {"namespace", name_space},
                   {"labels", {{kNodeName, node}}}};
  if (json list = owners_list(owners); !list.empty()) metadata["ownerReferences"] = list;
  return json{{"apiVersion", kApiVersion},
              {"kind", "NodeFeature"},
              {"metadata", std::move(metadata)},
              {"spec", spec_with(labels)}}
      .dump();
}

Result<std::optional<std::string>> changed_node_feature(std::string_view current,
                                                        std::string_view node, const Labels& labels,
                                                        std::string_view owners) {
  json object = object_from(current);
  if (!member(object, "metadata").is_object()) return no_object("NodeFeature");
  json& metadata = object["metadata"];
  json wanted_labels = {{kNodeName, node}};
  json wanted_owners = owners_list(owners);
  json owners_there = member(metadata, "ownerReferences");
  if (owners_there.is_null()) owners_there = json::array();
  // The server leaves out of the features what is empty.
  bool same = member(metadata, "labels") == wanted_labels && owners_there == wanted_owners &&
              member(member(object, "spec"), "labels") == to_json(labels);
  for (const char* part : {"flags", "attributes", "instances"}) {
    same = same && member(member(member(object, "spec"), "features"), part).empty();
  }
  if (same) return std::optional<std::string>();
  metadata["labels"] = std::move(wanted_labels);
  metadata["ownerReferences"] = std::move(wanted_owners);
  object["spec"] = spec_with(labels);
  return std::optional(object.dump());
}

Result<std::optional<std::string>> node_patch(std::string_view current, const Labels& labels) {
  json metadata = member(object_from(current), "metadata");
  if (!metadata.is_object()) return no_object("Node");
  json there = member(metadata, "labels");
  json change = json::object();
  std::string keys;
  for (const auto& [key, value] : labels) {
    if (member(there, key.c_str()) != json(value)) change[key] = value;
    keys += (keys.empty() ? "" : ",") + key;
  }
  for (const std::string& key : set_before(metadata)) {
    if (!labels.contains(key) && !member(there, key.c_str()).is_null()) change[key] = nullptr;
  }
  const std::string annotation(kSetByUs);
  bool listed = text_of(member(metadata, "annotations"), annotation.c_str()) == keys;
  if (change.empty() && listed) return std::optional<std::string>();
  json patch = {{"metadata", {{"annotations", {{annotation, keys}}}}}};
  if (!change.empty()) patch["metadata"]["labels"] = std::move(change);
  return std::optional(patch.dump());
}

}  // namespace kerf::labels
