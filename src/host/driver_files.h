// What the NVIDIA kernel driver leaves in the host's trees: device nodes, MIG capability minors,
// modules. Under Roots; reads only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "base/roots.h"

namespace kerf::host {

// Of nvidiactl, nvidia-uvm, nvidia-uvm-tools, nvidia-modeset (in this order) those that exist in
// the device tree, as bare names.
std::vector<std::string> control_nodes(const Roots& roots);

// The minor numbers of MIG capability nodes (nvidia-caps/nvidia-cap<minor>), by GPU minor, GPU
// instance and compute instance.
class MigMinors {
 public:
  std::optional<unsigned> gpu_instance(unsigned gpu, unsigned gi) const;
  std::optional<unsigned> compute_instance(unsigned gpu, unsigned gi, unsigned ci) const;
  std::optional<unsigned> config() const { return config_; }
  std::optional<unsigned> monitor() const { return monitor_; }
  std::size_t size() const { return access_.size(); }

  // Lines "gpu0/gi1/ci0/access 12", "gpu0/gi1/access 11", "config 1", "monitor 2"; others are
  // skipped.
  static MigMinors parse(std::string_view text);

 private:
  // Compute instance absent: the GPU instance itself.
  std::map<std::tuple<unsigned, unsigned, std::optional<unsigned>>, unsigned> access_;
  std::optional<unsigned> config_;
  std::optional<unsigned> monitor_;
};

// From driver/nvidia-caps/mig-minors in the process tree. Empty when there is no such file (no
// MIG).
MigMinors mig_minors(const Roots& roots);

// A loaded kernel module.
struct Module {
  std::string name;
  std::uint64_t size_bytes = 0;
  unsigned users = 0;
  std::vector<std::string> used_by;
  std::string state;  // "Live", "Loading", "Unloading"
};

// All loaded modules in the kernel's order. Lines that do not parse are skipped.
Result<std::vector<Module>> loaded_modules(const Roots& roots);

// One of the driver's four modules.
struct DriverModule {
  std::string name;              // nvidia, nvidia_uvm, nvidia_modeset, nvidia_drm
  std::optional<Module> loaded;  // absent when it is not
};

// The four, always all of them.
Result<std::vector<DriverModule>> driver_modules(const Roots& roots);

}  // namespace kerf::host
