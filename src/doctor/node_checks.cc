#include "doctor/node_checks.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::doctor {
namespace {

constexpr const char* kKmod = "siderolabs/nonfree-kmod-nvidia-production";
constexpr const char* kToolkit = "siderolabs/nvidia-container-toolkit-production";
// Older ones lack calls that CUDA 11 programs need. Source: NVIDIA's list of minimum drivers.
constexpr std::uint64_t kOldestDriver = 470;

struct DriverModule {
  const char* name;
  const char* without;  // what does not work
  bool computes;        // also programs that only compute need it
};
// In the order in which Talos is to load them.
constexpr DriverModule kModules[] = {
    {"nvidia", "the driver is not there at all", true},
    {"nvidia_uvm", "CUDA programs cannot start", true},
    {"nvidia_drm", "programs that draw find no GPU", false},
    {"nvidia_modeset", "nvidia_drm cannot be loaded", false},
};

std::string counted(std::size_t n, std::string_view word) {
  return fmt::format("{} {}{}", n, word, n == 1 ? "" : "s");
}

// What is bound to GPUs instead of the driver, as "vfio-pci (0000:01:00.0, 0000:02:00.0)".
std::map<std::string, std::vector<std::string>> by_driver(const NodeFacts& node) {
  std::map<std::string, std::vector<std::string>> out;
  for (const host::PciGpu& gpu : node.gpus) out[gpu.driver].push_back(gpu.bus_id);
  return out;
}

std::string remedy_of_binding(const std::string& driver, const NodeFacts& node) {
  if (driver == "vfio-pci") {
    return "They are set aside for virtual machines. To give them to containers, take their ids "
           "out "
           "of vfio-pci's options (modprobe.d, vfio-pci.ids= on the kernel's command line) and "
           "reboot.";
  }
  if (driver == "nouveau" || driver == "nova_core") {
    return "Keep " + driver + " from loading (`blacklist " + driver +
           "` in modprobe.d, then renew the initramfs), install NVIDIA's driver and reboot.";
  }
  if (driver.empty() && node.talos) {
    return std::string("Add the extension ") + kKmod +
           " to the node's schematic, and list nvidia in machine.kernel.modules.";
  }
  if (driver.empty()) {
    return "Install NVIDIA's driver for this kernel and load it with `modprobe nvidia`; the "
           "kernel's "
           "log says why a module that is there does not bind (`dmesg | grep -i nvrm`).";
  }
  return "Unbind " + driver + " from them, and load the nvidia module.";
}

void examine_pci(const NodeFacts& node, Findings& out) {
  if (node.gpus.empty()) {
    // Integrated GPUs (GB10, Tegra) are not on the bus.
    if (node.driver_problem.empty() && node.driver_gpus > 0) {
      out.push_back(
          {Severity::kOk, "pci", "no NVIDIA GPU on the PCI bus, but the driver has one", ""});
    } else {
      out.push_back(
          {Severity::kError, "pci", "no NVIDIA GPU on the PCI bus",
           "In a virtual machine pass the GPU through; else check its seat, its power and "
           "that the firmware maps it (Above 4G Decoding)."});
    }
    return;
  }
  for (const auto& [driver, ids] : by_driver(node)) {
    const std::string which = fmt::format("{} ({})", counted(ids.size(), "GPU"), join(ids, ", "));
    if (driver == "nvidia") {
      out.push_back({Severity::kOk, "pci", which + ", bound to nvidia", ""});
    } else {
      // GPUs beside them may work.
      const bool all = ids.size() == node.gpus.size();
      out.push_back({all ? Severity::kError : Severity::kWarning, "pci",
                     driver.empty() ? which + " without a kernel driver"
                                    : fmt::format("{}, bound to {}", which, driver),
                     remedy_of_binding(driver, node)});
    }
  }
}

void examine_modules(const NodeFacts& node, Findings& out) {
  if (!node.modules) {
    out.push_back({Severity::kSkipped, "modules", "kernel modules: " + node.modules_problem, ""});
    return;
  }
  const std::set<std::string> loaded(node.modules->begin(), node.modules->end());
  const bool working = node.driver_problem.empty() && node.driver_gpus > 0;
  bool all = true;
  for (const DriverModule& module : kModules) {
    if (loaded.contains(module.name)) continue;
    all = false;
    const std::string remedy =
        node.talos ? fmt::format(
                         "List {} in machine.kernel.modules of the machine configuration; it "
                         "comes with the extension {}.",
                         module.name, kKmod)
                   : fmt::format(
                         "Load it with `modprobe {0}`, and at every start by a line {0} in "
                         "/etc/modules-load.d/nvidia.conf.",
                         module.name);
    out.push_back(
        {working && !module.computes ? Severity::kWarning : Severity::kError,
         std::string("module.") + module.name,
         fmt::format("the kernel module {} is not loaded: {}", module.name, module.without),
         remedy});
  }
  if (all) {
    out.push_back({Severity::kOk, "modules",
                   "nvidia, nvidia_uvm, nvidia_drm and nvidia_modeset are loaded", ""});
  }
}

void examine_device_nodes(const NodeFacts& node, Findings& out) {
  std::vector<std::string> missing;
  for (const char* name : {"nvidiactl", "nvidia-uvm"}) {
    if (std::ranges::find(node.control_nodes, name) == node.control_nodes.end()) {
      missing.emplace_back(name);
    }
  }
  if (node.gpu_nodes == 0) missing.emplace_back("nvidia0");
  if (missing.empty()) {
    out.push_back(
        {Severity::kOk, "device-nodes",
         "device nodes of " + counted(node.gpu_nodes, "GPU") + ", nvidiactl and nvidia-uvm", ""});
    return;
  }
  // A container without them may still list GPUs, if it was given those that it needs for that.
  out.push_back(
      {node.driver_problem.empty() ? Severity::kWarning : Severity::kError, "device-nodes",
       "device nodes missing: " + join(missing, ", "),
       "On the node, `nvidia-modprobe -u -c=0` or the first `nvidia-smi` makes them. In a "
       "container they are there when its runtime is NVIDIA's: see RuntimeClass nvidia."});
}

void examine_driver(const NodeFacts& node, Findings& out) {
  if (!node.driver_problem.empty()) {
    const std::string remedy =
        node.talos
            ? fmt::format(
                  "The library comes with the extension {}, and into a pod by "
                  "runtimeClassName: nvidia.",
                  kToolkit)
            : "On the node, `nvidia-smi` must list the GPUs. In a pod the library comes from "
              "the node by runtimeClassName: nvidia; --nvml-library names another place.";
    out.push_back(
        {Severity::kError, "nvml", "NVML does not answer: " + node.driver_problem, remedy});
    return;
  }
  const std::string what = fmt::format("driver {} answers, with {}", node.driver_version,
                                       counted(node.driver_gpus, "GPU"));
  const auto major = parse_u64(node.driver_version.substr(0, node.driver_version.find('.')));
  if (node.driver_gpus == 0) {
    out.push_back({Severity::kError, "nvml", what,
                   "The kernel's log says why none could be started: `dmesg | grep -i nvrm`."});
  } else if (node.driver_gpus < node.gpus.size()) {
    out.push_back(
        {Severity::kWarning, "nvml", what + fmt::format(" of {} on the bus", node.gpus.size()),
         "The kernel's log says what keeps the others: `dmesg | grep -i -e nvrm -e xid`. In "
         "a container, NVIDIA_VISIBLE_DEVICES must be all."});
  } else if (major && *major < kOldestDriver) {
    out.push_back({Severity::kWarning, "nvml", what + fmt::format(", older than {}", kOldestDriver),
                   "Install a newer driver: images built for CUDA 11.4 and later do not start."});
  } else {
    out.push_back({Severity::kOk, "nvml", what, ""});
  }
}

void examine_kubelet(const NodeFacts& node, Findings& out) {
  if (!node.plugin_directory_problem.empty()) {
    out.push_back({Severity::kSkipped, "kubelet",
                   node.plugin_directory + ": " + node.plugin_directory_problem,
                   "Run as root, or in the plugin's pod."});
  } else if (!node.plugin_directory_there) {
    out.push_back({Severity::kError, "kubelet", "no directory " + node.plugin_directory,
                   "The kubelet makes it when it starts. In a pod it must be mounted; with another "
                   "--root-dir of the kubelet name its socket by --kubelet-socket."});
  } else if (!node.kubelet_socket_there) {
    out.push_back({Severity::kError, "kubelet", "no kubelet.sock in " + node.plugin_directory,
                   "Start the kubelet; its log says why it does not run."});
  } else if (node.plugin_sockets.empty()) {
    out.push_back(
        {Severity::kError, "kubelet",
         "the kubelet is there, but no GPU plugin has a socket in " + node.plugin_directory,
         "Start the plugin on this node; /health of its pod says what keeps it."});
  } else {
    out.push_back(
        {Severity::kOk, "kubelet",
         "kubelet.sock and " + join(node.plugin_sockets, ", ") + " in " + node.plugin_directory,
         ""});
  }
}

void examine_agent(const NodeFacts& node, Findings& out) {
  const AgentFacts& agent = node.agent;
  if (!agent.unreachable.empty()) {
    out.push_back({Severity::kWarning, "agent",
                   "kerf's agent does not answer: " + agent.unreachable,
                   "See whether its pod runs on this node; --address says where else it listens."});
    return;
  }
  if (agent.problems.empty()) {
    out.push_back({Severity::kOk, "agent", "the agent says " + agent.status, ""});
  }
  for (const Finding& problem : agent.problems) out.push_back(problem);
  if (agent.resources.empty()) {
    out.push_back({Severity::kError, "agent.resources", "the agent advertises nothing", ""});
  }
  for (const AgentFacts::Resource& r : agent.resources) {
    const std::string what = fmt::format("{}: {} of {} healthy", r.name, r.healthy, r.total);
    if (!r.registered) {
      out.push_back({Severity::kError, "agent.resources",
                     what + ", not registered with the kubelet",
                     "The agent tries again by itself; its log says what the kubelet answers."});
    } else {
      out.push_back(
          {r.healthy == r.total ? Severity::kOk : Severity::kWarning, "agent.resources", what, ""});
    }
  }
}

}  // namespace

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kSkipped:
      return "skip";
    case Severity::kWarning:
      return "warn";
    case Severity::kError:
      return "error";
  }
  return "error";
}

std::vector<std::string> extension_names(std::string_view yaml) {
  std::vector<std::string> out;
  for (const std::string& line : split(yaml, '\n')) {
    std::string_view text = trim(line);
    if (text.starts_with("- ")) text = trim(text.substr(2));
    if (!text.starts_with("name:")) continue;
    text = trim(text.substr(5));
    if (text.size() > 1 && (text.front() == '"' || text.front() == '\'')) {
      text = text.substr(1, text.size() - 2);
    }
    if (!text.empty()) out.emplace_back(text);
  }
  return out;
}

Findings examine_extensions(const std::vector<std::string>& names) {
  const auto has = [&](std::string_view part) {
    return std::ranges::any_of(
        names, [&](const std::string& name) { return name.find(part) != std::string::npos; });
  };
  Findings out;
  if (!has("nonfree-kmod-nvidia") && !has("nvidia-open-gpu-kernel-modules")) {
    out.push_back(
        {Severity::kError, "talos.kmod", "no Talos extension with NVIDIA's kernel modules",
         std::string("Add ") + kKmod +
             " (or siderolabs/nvidia-open-gpu-kernel-modules-production) to the schematic "
             "and upgrade the node to its installer image."});
  }
  if (!has("nvidia-container-toolkit")) {
    out.push_back({Severity::kError, "talos.toolkit",
                   "no Talos extension with NVIDIA's container toolkit",
                   std::string("Add ") + kToolkit +
                       " to the schematic and upgrade the node to its installer image."});
  }
  if (out.empty()) {
    out.push_back({Severity::kOk, "talos.extensions",
                   "Talos extensions with kernel modules and container toolkit", ""});
  }
  return out;
}

Findings examine_node(const NodeFacts& node) {
  Findings out;
  examine_pci(node, out);
  if (node.extensions) {
    Findings more = examine_extensions(*node.extensions);
    out.insert(out.end(), more.begin(), more.end());
  }
  examine_modules(node, out);
  examine_device_nodes(node, out);
  examine_driver(node, out);
  examine_kubelet(node, out);
  examine_agent(node, out);
  return out;
}

}  // namespace kerf::doctor
