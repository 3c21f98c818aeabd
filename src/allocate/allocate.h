// Allocate: which container edits give a container the devices the kubelet chose. Pure: no file is
// looked at, what exists on the machine comes in as HostFacts. Device-plugin contract §5.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "allocate/index.h"
#include "base/result.h"
#include "edits/types.h"

namespace kerf::allocate {

// What the caller found on the machine at start. Only read for the device list strategies and
// flags that need it.
struct HostFacts {
  // Control nodes that exist in /dev, in the order in which containers get them.
  bool nvidiactl = false;
  bool uvm = false;
  bool uvm_tools = false;
  bool modeset = false;
  std::vector<int> imex_channels;  // those of imex.channelIDs that exist, in that order

  bool operator==(const HostFacts&) const = default;
};

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
Result<edits::Edits> allocate(const Index& index, std::span<const std::string_view> ids,
                              const HostFacts& host);

}  // namespace kerf::allocate
