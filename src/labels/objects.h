// Labels as objects of the Kubernetes API: what to send so that a NodeFeature or a Node carries
// them, and whether anything needs sending. Pure; JSON goes in and out as text.
// Source: device-plugin contract §8.4; NFD's nodefeatures.nfd.k8s-sigs.io v1alpha1.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "labels/labels.h"

namespace kerf::labels {

// "nvidia-features-for-<node>"
std::string node_feature_name(std::string_view node);

// Path of the collection in a namespace; with "/<name>" behind it that of an object.
std::string node_features_path(std::string_view name_space);
std::string node_path(std::string_view node);
std::string pod_path(std::string_view name_space, std::string_view pod);

// Who owns the NodeFeature, as a JSON list: the DaemonSet of this pod, and the pod. "[]" when it is
// not a DaemonSet's. kCorrupt when the text is no pod.
Result<std::string> owners_from_pod(std::string_view pod);

// The object to create.
std::string new_node_feature(std::string_view node, std::string_view name_space,
                             const Labels& labels, std::string_view owners);

// The object to put in the place of `current`, or nothing when that says it all. What others added
// to it (annotations, finalizers) stays. kCorrupt when `current` is no object.
Result<std::optional<std::string>> changed_node_feature(std::string_view current,
                                                        std::string_view node, const Labels& labels,
                                                        std::string_view owners);

// The annotation of a Node that says which of its labels were set by us, so that those which are no
// longer ours to set are taken away again.
inline constexpr std::string_view kSetByUs = "kerf/node-labels";

// The merge patch that gives a Node these labels and takes away those set by us before, or nothing.
Result<std::optional<std::string>> node_patch(std::string_view current, const Labels& labels);

}  // namespace kerf::labels
