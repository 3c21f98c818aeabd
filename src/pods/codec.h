// The answer of the kubelet's PodResources API v1 in protobuf's wire format, as far as devices are
// concerned. Pure. Field numbers: the kubelet's public field table (package v1); unknown fields are
// skipped, as protobuf demands, so newer kubelets are understood.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pods/types.h"

namespace kerf::pods {

// The method's name; its request is an empty message.
inline constexpr char kList[] = "/v1.PodResourcesLister/List";

// More than any node has; what goes beyond is refused as kInvalid rather than stored.
inline constexpr std::size_t kMaxListed = 65536;

// The containers that hold a device or a claim, in the kubelet's order. Errors: kCorrupt (not such
// a message, or a name that is no name), kInvalid (too many).
Result<std::vector<Container>> decode_list(std::string_view bytes);

}  // namespace kerf::pods
