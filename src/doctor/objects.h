// Reads Kubernetes objects from what the API server answers, as far as the doctor looks at them.
// Pure. Every function takes a list or a single object, skips what is not of the expected form, and
// answers kCorrupt when the text is no JSON object at all.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "doctor/types.h"

namespace kerf::doctor {

Result<std::vector<NodeObject>> nodes_of(std::string_view text);

// Of DaemonSets those that are device plugins for NVIDIA GPUs, by name and labels: kerf's, and
// NVIDIA's own as its manifests, its chart and the GPU operator name it.
Result<std::vector<DaemonSetObject>> plugins_of(std::string_view text);

// Pods of any phase. What they ask for counts only resources of NVIDIA.
Result<std::vector<PodObject>> pods_of(std::string_view text);

// The objects' names, of any kind.
Result<std::vector<std::string>> names_of(std::string_view text);

// Of Events the Warnings about an object, newest first, as "reason: message"; at most two.
Result<std::vector<std::string>> complaints_of(std::string_view text, std::string_view kind,
                                               std::string_view name);

}  // namespace kerf::doctor
