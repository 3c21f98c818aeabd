// A pod as the API server describes it, reduced to what attribution needs. Pure.
#pragma once

#include <string_view>

#include "base/result.h"
#include "pods/types.h"

namespace kerf::pods {

// An annotation on the pod: what each container may use of the memory of each device that it holds,
// as a quantity ("6Gi", "6000M"). With ".<container>" behind it: of that container.
inline constexpr std::string_view kMemoryQuota = "kerf/gpu-memory";

// From a Pod object as JSON. Of its annotations only those that begin with "kerf/" are kept. The
// uid of a static pod is the kubelet's (annotation kubernetes.io/config.hash), which is what
// control groups and log directories carry. kCorrupt when it is no pod.
Result<PodFacts> pod_facts(std::string_view text);

// A Kubernetes quantity in bytes: digits, perhaps a fraction, and a suffix (k, M, G, T, P, E, Ki,
// …). kInvalid for all else, and for less than 1 or more than 2^63.
Result<std::uint64_t> parse_quantity(std::string_view text);

}  // namespace kerf::pods
