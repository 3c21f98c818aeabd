// Allocate: which container edits give a container the devices the kubelet chose. Pure: no file is
// looked at, what exists on the machine comes in as HostFacts. Device-plugin contract §5.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "allocate/host_facts.h"
#include "allocate/index.h"
#include "base/result.h"
#include "edits/types.h"

namespace kerf::allocate {

// The edits for one container. `ids` as the kubelet sent them: replicas of one device count once,
// order is kept with deviceIDStrategy uuid and by index otherwise. Device nodes come once each.
// Whether a device is healthy is not asked: the kubelet has decided.
//
// No ids: NVIDIA_VISIBLE_DEVICES is set and empty under every strategy, and nothing else is, so
// that the container gets no GPU even if its image asks for all.
//
// Errors; `Error::text()` is what NVIDIA's plugin answers word for word, to be sent with gRPC code
// UNKNOWN:
//   kInvalid   invalid allocation request for "<resource>": invalid request: unknown device: <id>
//   kInvalid   … invalid request: maximum request size for shared resources is 1; found <n>
//   kNotFound  … missing MIG GPU instance capability … (passDeviceSpecs only)
//   kNotFound  failed to get allocate response: failed to get allocate response for CDI: …, when a
//              CDI strategy is on and a device is in no specification on disk: a name that the
//              runtime cannot resolve is worse than a refusal
Result<edits::Edits> allocate(const Index& index, std::span<const std::string_view> ids,
                              const HostFacts& host);

}  // namespace kerf::allocate
