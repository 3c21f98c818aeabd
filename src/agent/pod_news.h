// What a pod is to be told of the GPUs that it holds: that one became unhealthy while it runs on
// it, and that it is well again. Pure: who holds what and how GPUs are come in, at any pace and in
// any order; each step is told once.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/pod_ref.h"
#include "inventory/types.h"
#include "pods/types.h"

namespace kerf::agent {

// An Event about a pod. Reasons: GPUUnhealthy, GPURecovered, as for the Node.
struct PodSaying {
  PodRef pod;
  std::string reason;
  std::string message;
  bool warning = false;
  bool operator==(const PodSaying&) const = default;
};

class PodNews {
 public:
  // What is new since the call before. A holder whose uid nobody has told yet has to wait for it,
  // since `kubectl describe pod` looks for Events by uid.
  std::vector<PodSaying> look(const std::vector<pods::PodDevice>& held,
                              const inventory::Snapshot& snapshot);

 private:
  // Container and device; what the container was told of it.
  using Key = std::pair<PodRef, std::string>;
  std::map<Key, std::string> told_;
};

}  // namespace kerf::agent
