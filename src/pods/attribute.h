// From what the kubelet calls a device to the device: every form of id that a plugin for NVIDIA
// GPUs has used, resolved against the node's inventory. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inventory/types.h"
#include "pods/types.h"

namespace kerf::pods {

// A device id taken apart. Which of the fields are filled depends on the form.
struct DeviceId {
  std::string uuid;                          // "GPU-…", "MIG-…"; empty when named by index
  std::optional<unsigned> gpu;               // NVML index, of "nvidia0/…" and "0:1"
  std::optional<unsigned> mig;               // position on the GPU, of "0:1"
  std::optional<unsigned> gpu_instance;      // of ".../gi1" and "MIG-GPU-<uuid>/1/0"
  std::optional<unsigned> compute_instance;  // of "MIG-GPU-<uuid>/1/0"
  std::optional<unsigned> replica;           // of "…::3" and "…/vgpu3"
  bool operator==(const DeviceId&) const = default;
};

// Understood, each with "::<n>" behind it when shared: "GPU-<uuid>", "MIG-<uuid>",
// "MIG-GPU-<uuid>/<gi>/<ci>", "nvidia0[/gi1][/vgpu2]", "0" and "0:1". Nothing for all else.
std::optional<DeviceId> parse_device_id(std::string_view id);

// Who holds what, in the order of `pods.containers`. Ids that name no device of `snapshot` are left
// out: they belong to other plugins, or to hardware that is gone. Plain numbers are tried only for
// resources whose name begins with "nvidia.com/".
std::vector<PodDevice> attribute(const Pods& pods, const inventory::Snapshot& snapshot);

}  // namespace kerf::pods
