// nvml-sim tree: the host's view of a machine as files: /sys, /proc and /dev as programs that ask
// the kernel instead of the driver see them, and the files that a driver installation leaves in
// /usr and /lib. Device nodes, libraries and programs become plain files that only stand for the
// real ones. Run it again after a MIG change.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <utility>

#include "mig.h"
#include "tool.h"

namespace nvmlsim {
namespace {

namespace fs = std::filesystem;

class Tree {
 public:
  explicit Tree(fs::path root) : root_(std::move(root)) {}

  void file(const std::string& path, const std::string& text) {
    const fs::path full = root_ / path;
    std::error_code error;
    fs::create_directories(full.parent_path(), error);
    std::ofstream out(full, std::ios::trunc);
    out << text;
    out.close();
    if (!out) throw ToolError(full.string() + ": " + std::strerror(errno));
  }

  void link(const std::string& path, const std::string& target) {
    const fs::path full = root_ / path;
    std::error_code error;
    fs::create_directories(full.parent_path(), error);
    fs::remove(full, error);
    fs::create_symlink(target, full, error);
    if (error) throw ToolError(full.string() + ": " + error.message());
  }

  void copy(const std::string& from, const std::string& path) {
    const fs::path full = root_ / path;
    std::error_code error;
    fs::create_directories(full.parent_path(), error);
    fs::copy_file(from, full, fs::copy_options::overwrite_existing, error);
    if (error) throw ToolError(from + ": " + error.message());
  }

  void clear(const std::string& path) {
    std::error_code error;
    fs::remove_all(root_ / path, error);
  }

 private:
  fs::path root_;
};

std::string hex(uint32_t value, int digits) {
  char text[16];
  std::snprintf(text, sizeof(text), "0x%0*x", digits, value);
  return text;
}

void pci_device(Tree& tree, const BusId& bus_id, uint32_t pci_id, uint32_t subsystem,
                const char* device_class, uint32_t numa, const char* driver) {
  const std::string id = bus_id_sysfs(bus_id);
  const std::string base = "sys/bus/pci/devices/" + id + "/";
  tree.file(base + "vendor", hex(pci_id & 0xffffU, 4) + "\n");
  tree.file(base + "device", hex(pci_id >> 16, 4) + "\n");
  tree.file(base + "subsystem_vendor", hex(subsystem & 0xffffU, 4) + "\n");
  tree.file(base + "subsystem_device", hex(subsystem >> 16, 4) + "\n");
  tree.file(base + "class", std::string(device_class) + "\n");
  tree.file(base + "numa_node", (numa == kNone ? "-1" : std::to_string(numa)) + "\n");
  tree.link(base + "driver", std::string("../../../bus/pci/drivers/") + driver);
  tree.link(std::string("sys/bus/pci/drivers/") + driver + "/" + id,
            "../../../../bus/pci/devices/" + id);
}

void gpu_information(Tree& tree, const Shared& shared, uint32_t i) {
  const GpuSpec& spec = shared.machine.gpus[i];
  const std::string base = "proc/driver/nvidia/gpus/" + bus_id_sysfs(spec.bus_id) + "/";
  tree.file(base + "information",
            std::string("Model: \t\t ") + spec.name + "\nIRQ:   \t\t " + std::to_string(64 + i) +
                "\nGPU UUID: \t " + spec.uuid + "\nVideo BIOS: \t " + spec.vbios +
                "\nBus Type: \t PCIe\nDMA Size: \t 47 bits\nDMA Mask: \t 0x7fffffffffff\n"
                "Bus Location: \t " +
                bus_id_sysfs(spec.bus_id) + "\nDevice Minor: \t " +
                std::to_string(shared.live[i].minor) + "\nGPU Excluded:\t No\n");
  const std::string power = base + "power";
  tree.file(
      power,
      "Runtime D3 status:          Disabled by default\nVideo Memory:               Active\n");
}

// Minors are numbered over all GPUs, 15 instances of 8 compute instances each, whether they exist.
uint32_t mig_minor(uint32_t gpu, uint32_t gi) { return 3 + gpu * 15 * 9 + gi * 9; }

void mig_files(Tree& tree, const Shared& shared) {
  std::string minors = "config 1\nmonitor 2\n";
  tree.clear("proc/driver/nvidia/capabilities");
  tree.clear("dev/nvidia-caps");
  const auto capability = [&](const std::string& path, uint32_t minor) {
    tree.file("proc/driver/nvidia/capabilities/" + path,
              "DeviceFileMinor: " + std::to_string(minor) +
                  "\nDeviceFileMode: 256\nDeviceFileModify: 1\n");
    tree.file("dev/nvidia-caps/nvidia-cap" + std::to_string(minor), "");
  };
  capability("mig/config", 1);
  capability("mig/monitor", 2);
  for (uint32_t i = 0; i < shared.machine.gpu_count; ++i) {
    if (!shared.machine.gpus[i].mig_table) continue;
    const std::string gpu = "gpu" + std::to_string(shared.live[i].minor);
    for (uint32_t gi = 0; gi < 15; ++gi) {
      const std::string instance = gpu + "/gi" + std::to_string(gi);
      minors += instance + "/access " + std::to_string(mig_minor(i, gi)) + "\n";
      for (uint32_t ci = 0; ci < 8; ++ci)
        minors += instance + "/ci" + std::to_string(ci) + "/access " +
                  std::to_string(mig_minor(i, gi) + 1 + ci) + "\n";
    }
    for (const GpuInstanceState& gi : shared.mig[i]) {
      if (!gi.used) continue;
      const std::string path = gpu + "/mig/gi" + std::to_string(gi.id);
      capability(path + "/access", mig_minor(i, gi.id));
      for (const ComputeInstanceState& ci : gi.compute)
        if (ci.used)
          capability(path + "/ci" + std::to_string(ci.id) + "/access",
                     mig_minor(i, gi.id) + 1 + ci.id);
    }
  }
  tree.file("proc/driver/nvidia-caps/mig-minors", minors);
}

// What an installer of the user-space driver places, each with a line that says what it stands for.
void installation(Tree& tree, const Machine& m, const std::string& version) {
  const std::string lib = std::string("usr/lib/") + m.architecture + "-linux-gnu/";
  const auto stands_for = [&](const std::string& path) {
    tree.file(path, "stands for /" + path + "\n");
  };
  for (const char* name :
       {"libcuda", "libnvidia-ptxjitcompiler", "libnvidia-opencl", "libnvcuvid", "libnvidia-encode",
        "libnvidia-allocator", "libnvidia-opticalflow", "libGLX_nvidia", "libEGL_nvidia"}) {
    const std::string file = std::string(name) + ".so." + version;
    const bool of_glvnd = std::string(name).ends_with("_nvidia");
    stands_for(lib + file);
    tree.link(lib + name + (of_glvnd ? ".so.0" : ".so.1"), file);
  }
  tree.link(lib + "libcuda.so", "libcuda.so.1");
  stands_for(lib + "vdpau/libvdpau_nvidia.so." + version);
  tree.link(lib + "vdpau/libvdpau_nvidia.so.1", "libvdpau_nvidia.so." + version);
  for (const char* name : {"nvidia-smi", "nvidia-debugdump", "nvidia-persistenced",
                           "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"})
    stands_for(std::string("usr/bin/") + name);
  for (const char* name : {"gsp_ga10x.bin", "gsp_tu10x.bin"})
    stands_for("lib/firmware/nvidia/" + version + "/" + name);
  stands_for("etc/OpenCL/vendors/nvidia.icd");
  stands_for("usr/share/glvnd/egl_vendor.d/10_nvidia.json");
  stands_for("usr/share/vulkan/icd.d/nvidia_icd.json");
  stands_for("run/nvidia-persistenced/socket");
  tree.file("proc/sys/kernel/osrelease", "6.12.0-sim\n");
  tree.file("proc/sys/kernel/random/boot_id", "5f1c7a9e-0b4d-4c3e-9d2a-6e8f10a2b3c4\n");
}

// Card 0 is left to the board's own display controller.
void direct_rendering(Tree& tree, const BusId& bus_id, uint32_t i) {
  const std::string bus = bus_id_sysfs(bus_id);
  for (const auto& [kind, name] : {std::pair{"card", "card" + std::to_string(i + 1)},
                                   std::pair{"render", "renderD" + std::to_string(i + 128)}}) {
    tree.file(
        "sys/bus/pci/devices/" + bus + "/drm/" + name + "/dev",
        std::string("226:") + (name.starts_with("card") ? name.substr(4) : name.substr(7)) + "\n");
    tree.file("dev/dri/" + name, "");
    tree.link("dev/dri/by-path/pci-" + bus + "-" + kind, "../" + name);
  }
}

void driver_files(Tree& tree, const Shared& shared) {
  const Machine& m = shared.machine;
  tree.file("proc/driver/nvidia/version",
            std::string("NVRM version: NVIDIA UNIX ") + m.architecture + " Kernel Module  " +
                shared.driver_version + "  Release Build\nGCC version:  gcc version 12.2.0\n");
  tree.file("proc/driver/nvidia/params",
            "ModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\n");
  tree.file("proc/modules",
            "nvidia_uvm 1884160 0 - Live 0x0000000000000000 (POE)\n"
            "nvidia_drm 131072 0 - Live 0x0000000000000000 (POE)\n"
            "nvidia_modeset 1601536 1 nvidia_drm, Live 0x0000000000000000 (POE)\n"
            "nvidia 11554816 2 nvidia_uvm,nvidia_modeset, Live 0x0000000000000000 (POE)\n");
  tree.file("proc/devices",
            "Character devices:\n195 nvidia\n195 nvidiactl\n195 nvidia-modeset\n"
            "234 nvidia-caps\n235 nvidia-uvm\n236 nvidia-nvswitch\n");
  for (const char* node : {"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"})
    tree.file(std::string("dev/") + node, "");
  for (uint32_t i = 0; i < m.gpu_count; ++i) {
    gpu_information(tree, shared, i);
    direct_rendering(tree, m.gpus[i].bus_id, i);
    tree.file("dev/nvidia" + std::to_string(shared.live[i].minor), "");
  }
  if (m.switch_count) tree.file("dev/nvidia-nvswitchctl", "");
  for (uint32_t i = 0; i < m.switch_count; ++i) {
    tree.file("dev/nvidia-nvswitch" + std::to_string(i), "");
    tree.file("proc/driver/nvidia-nvswitch/devices/" + bus_id_sysfs(m.switches[i].bus_id),
              "BIOS Version: N/A\n");
  }
  mig_files(tree, shared);
  installation(tree, m, shared.driver_version);
}

}  // namespace

void write_tree(ToolContext& context, const std::string& directory, const std::string& library) {
  auto shared = std::make_unique<Shared>();
  context.store().read(
      [&](const Shared& s) { std::memcpy(static_cast<void*>(shared.get()), &s, sizeof(Shared)); });
  Tree tree(directory);
  const Machine& m = shared->machine;
  for (uint32_t i = 0; i < m.gpu_count; ++i)
    pci_device(tree, m.gpus[i].bus_id, m.gpus[i].pci_id, m.gpus[i].subsystem_id,
               m.gpus[i].brand == 5 ? "0x030000" : "0x030200", m.gpus[i].numa, "nvidia");
  for (uint32_t i = 0; i < m.switch_count; ++i)
    pci_device(tree, m.switches[i].bus_id, m.switches[i].pci_id, 0x10de, "0x068000",
               m.switches[i].numa, "nvidia-nvswitch");
  const std::string kib = std::to_string(m.memory_kib);
  tree.file("proc/meminfo", "MemTotal:       " + kib + " kB\nMemFree:        " + kib +
                                " kB\nMemAvailable:   " + kib + " kB\n");
  if (m.driver_loaded) {
    driver_files(tree, *shared);
  } else {
    tree.file("proc/modules", "");
  }
  if (!library.empty()) {
    const std::string folder = std::string("usr/lib/") + m.architecture + "-linux-gnu/";
    tree.copy(library, folder + "libnvidia-ml.so." + m.driver);
    tree.link(folder + "libnvidia-ml.so.1", std::string("libnvidia-ml.so.") + m.driver);
  }
  std::printf("%s: the host of %s\n", directory.c_str(), m.name);
}

}  // namespace nvmlsim
