// What the kernel says about PCI devices, under Roots. Independent of any driver's library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/roots.h"

namespace kerf::host {

// A display controller or 3D controller made by NVIDIA (vendor 10de, class 03xx).
struct PciGpu {
  std::string bus_id;  // sysfs spelling: "0000:3b:00.0"
  std::uint16_t device_id = 0;
  std::uint32_t class_code = 0;  // 0x030200: base class, sub-class, interface
  std::string driver;            // "nvidia", "vfio-pci"; empty when nothing is bound
  std::optional<int> numa_node;

  bool operator==(const PciGpu&) const = default;
};

// Ordered by bus id. A device whose files cannot be read is left out. A missing PCI tree (no PCI
// bus at all) gives an empty list.
std::vector<PciGpu> pci_gpus(const Roots& roots);

// The NUMA node of a PCI device given in sysfs spelling. Absent when the kernel does not know (-1)
// or the file is not there. kCorrupt when the file holds something that is not a number.
Result<std::optional<int>> numa_node(const Roots& roots, std::string_view bus_id);

}  // namespace kerf::host
