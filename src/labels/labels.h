// Which labels a node gets for its GPUs. Pure: a plan, what the kernel says, and a time come in,
// key and value pairs go out. Nothing here is written anywhere. Source: device-plugin contract
// §8.2, §8.3 (NVIDIA's gpu-feature-discovery).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "host/pci.h"
#include "host/vgpu.h"
#include "plan/types.h"

namespace kerf::labels {

// Ordered by key. Keys and values are legal in Kubernetes.
using Labels = std::map<std::string, std::string, std::less<>>;

// What only the kernel knows. `facts.h` reads it.
struct Facts {
  std::string machine;                           // the machine's product name; "": unknown
  std::vector<host::PciGpu> pci;                 // of any driver, ordered by bus id
  std::optional<std::vector<host::Vgpu>> vgpus;  // absent when the kernel would not say

  bool operator==(const Facts&) const = default;
};

struct Made {
  Labels labels;
  std::vector<std::string> warnings;  // whole sentences
};

// `timestamp_s` (seconds since the epoch) is left out under noTimestamp. A GPU that is lost or
// unhealthy counts like the others: labels say what the machine has, the kubelet is told what of it
// may be used. Without a GPU in the plan's snapshot there are only the labels that need none.
//
// Several models on one node: the labels under nvidia.com/gpu. are those of the model with most
// GPUs that are not in MIG mode, or with most GPUs if all are; between equals that of the lowest
// index. Replicas are those of the first such GPU. Fails (kConflict) for MPS beside a GPU in MIG
// mode.
Result<Made> make_labels(const plan::Plan& plan, const Facts& facts, std::int64_t timestamp_s);

}  // namespace kerf::labels
