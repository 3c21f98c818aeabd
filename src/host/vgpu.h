// Whether a PCI device is a virtual GPU, which the hypervisor's driver says in the device's
// configuration space. Under Roots; reads only. Source: device-plugin contract §8.2 (vGPU probe).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/roots.h"

namespace kerf::host {

// A virtual GPU, and the driver on the hypervisor that made it; both empty when it does not say.
struct Vgpu {
  std::string bus_id;               // sysfs spelling
  std::string host_driver_version;  // "460.16"
  std::string host_driver_branch;   // "r460_00"
  bool operator==(const Vgpu&) const = default;
};

// The virtual GPUs among NVIDIA's PCI devices (of any class), ordered by bus id. kDenied when the
// kernel shows only the beginning of a configuration space, as it does without CAP_SYS_ADMIN: then
// nothing is known. A missing PCI tree gives an empty list.
Result<std::vector<Vgpu>> vgpus(const Roots& roots);

// From the bytes of a configuration space (256 or more); `bus_id` stays empty. Absent when it is no
// virtual GPU, also when the bytes make no sense.
std::optional<Vgpu> parse_vgpu(std::string_view config_space);

}  // namespace kerf::host
