// What is said of a node, for each thing that can be wrong with it.
#include "doctor/node_checks.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::doctor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

NodeFacts healthy() {
  NodeFacts node;
  node.modules = {"nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia", "ext4"};
  node.gpus = {{"0000:01:00.0", 0x2204, 0x030000, "nvidia", {}},
               {"0000:02:00.0", 0x2204, 0x030000, "nvidia", {}}};
  node.control_nodes = {"nvidiactl", "nvidia-uvm"};
  node.gpu_nodes = 2;
  node.driver_version = "580.126.09";
  node.driver_gpus = 2;
  node.plugin_directory = "/var/lib/kubelet/device-plugins";
  node.plugin_directory_there = true;
  node.kubelet_socket_there = true;
  node.plugin_sockets = {"nvidia-gpu.sock"};
  node.agent.status = "ok";
  node.agent.resources = {{"nvidia.com/gpu", 8, 8, true}};
  return node;
}

Findings bad(const Findings& all) {
  Findings out;
  for (const Finding& finding : all) {
    if (finding.severity != Severity::kOk) out.push_back(finding);
  }
  return out;
}

TEST(Node, InOrderHasNothingButGoodFindings) {
  EXPECT_THAT(bad(examine_node(healthy())), IsEmpty());
  EXPECT_EQ(examine_node(healthy()).size(), 7U);
}

struct Case {
  const char* name;
  std::function<void(NodeFacts&)> wrong;
  Severity severity;
  const char* check;
  const char* what;
  const char* remedy;
};

class Wrong : public testing::TestWithParam<Case> {};

TEST_P(Wrong, IsNamedWithItsRemedy) {
  const Case& c = GetParam();
  NodeFacts node = healthy();
  c.wrong(node);
  const Findings found = bad(examine_node(node));
  ASSERT_EQ(found.size(), 1U) << (found.empty() ? "" : found[1].what);
  EXPECT_EQ(found[0].severity, c.severity);
  EXPECT_EQ(found[0].check, c.check);
  EXPECT_THAT(found[0].what, HasSubstr(c.what));
  EXPECT_THAT(found[0].remedy, HasSubstr(c.remedy));
}

void without_module(NodeFacts& node, const char* name) { std::erase(*node.modules, name); }

const Case kCases[] = {
    {"NoNvidia", [](NodeFacts& n) { without_module(n, "nvidia"); }, Severity::kError,
     "module.nvidia", "kernel module nvidia is not loaded", "modprobe nvidia`"},
    {"NoUvm", [](NodeFacts& n) { without_module(n, "nvidia_uvm"); }, Severity::kError,
     "module.nvidia_uvm", "nvidia_uvm is not loaded", "modprobe nvidia_uvm"},
    {"NoDrmThoughGpusAnswer", [](NodeFacts& n) { without_module(n, "nvidia_drm"); },
     Severity::kWarning, "module.nvidia_drm", "nvidia_drm is not loaded", "modprobe nvidia_drm"},
    {"NoModesetThoughGpusAnswer", [](NodeFacts& n) { without_module(n, "nvidia_modeset"); },
     Severity::kWarning, "module.nvidia_modeset", "nvidia_modeset is not loaded",
     "modprobe nvidia_modeset"},
    {"NoUvmOnTalos",
     [](NodeFacts& n) {
       n.talos = true;
       without_module(n, "nvidia_uvm");
     },
     Severity::kError, "module.nvidia_uvm", "nvidia_uvm", "machine.kernel.modules"},
    {"ModulesUnknown",
     [](NodeFacts& n) {
       n.modules.reset();
       n.modules_problem = "not there";
     },
     Severity::kSkipped, "modules", "not there", ""},
    {"OneGpuForVirtualMachines", [](NodeFacts& n) { n.gpus[1].driver = "vfio-pci"; },
     Severity::kWarning, "pci", "1 GPU (0000:02:00.0), bound to vfio-pci", "virtual machines"},
    {"BothWithNouveau", [](NodeFacts& n) { n.gpus[0].driver = n.gpus[1].driver = "nouveau"; },
     Severity::kError, "pci", "2 GPUs (0000:01:00.0, 0000:02:00.0), bound to nouveau",
     "blacklist nouveau"},
    {"BothWithoutDriver", [](NodeFacts& n) { n.gpus[0].driver = n.gpus[1].driver = ""; },
     Severity::kError, "pci", "without a kernel driver", "modprobe nvidia"},
    {"WithoutDriverOnTalos",
     [](NodeFacts& n) {
       n.talos = true;
       n.gpus[0].driver = n.gpus[1].driver = "";
     },
     Severity::kError, "pci", "without a kernel driver",
     "siderolabs/nonfree-kmod-nvidia-production"},
    {"NoDeviceNodes", [](NodeFacts& n) { n.control_nodes.clear(); }, Severity::kWarning,
     "device-nodes", "nvidiactl, nvidia-uvm", "nvidia-modprobe"},
    {"NoLibrary", [](NodeFacts& n) { n.driver_problem = "cannot load libnvidia-ml.so.1"; },
     Severity::kError, "nvml", "cannot load", "runtimeClassName: nvidia"},
    {"NoLibraryOnTalos",
     [](NodeFacts& n) {
       n.talos = true;
       n.driver_problem = "cannot load libnvidia-ml.so.1";
     },
     Severity::kError, "nvml", "cannot load", "siderolabs/nvidia-container-toolkit-production"},
    {"DriverWithFewerGpus", [](NodeFacts& n) { n.driver_gpus = 1; }, Severity::kWarning, "nvml",
     "with 1 GPU of 2 on the bus", "dmesg"},
    {"DriverWithoutGpus", [](NodeFacts& n) { n.driver_gpus = 0; }, Severity::kError, "nvml",
     "with 0 GPUs", "dmesg"},
    {"OldDriver", [](NodeFacts& n) { n.driver_version = "460.32.03"; }, Severity::kWarning, "nvml",
     "older than 470", "newer driver"},
    {"NoKubeletDirectory", [](NodeFacts& n) { n.plugin_directory_there = false; }, Severity::kError,
     "kubelet", "no directory /var/lib/kubelet/device-plugins", "mounted"},
    {"UnreadableKubeletDirectory",
     [](NodeFacts& n) { n.plugin_directory_problem = "Permission denied"; }, Severity::kSkipped,
     "kubelet", "Permission denied", "root"},
    {"NoKubelet", [](NodeFacts& n) { n.kubelet_socket_there = false; }, Severity::kError, "kubelet",
     "no kubelet.sock", "Start the kubelet"},
    {"NoPluginSocket", [](NodeFacts& n) { n.plugin_sockets.clear(); }, Severity::kError, "kubelet",
     "no GPU plugin has a socket", "Start the plugin"},
    {"AgentAway", [](NodeFacts& n) { n.agent.unreachable = "Connection refused"; },
     Severity::kWarning, "agent", "Connection refused", "--address"},
    {"AgentUnregistered", [](NodeFacts& n) { n.agent.resources[0].registered = false; },
     Severity::kError, "agent.resources", "not registered", "log"},
    {"AgentWithSickDevices", [](NodeFacts& n) { n.agent.resources[0].healthy = 4; },
     Severity::kWarning, "agent.resources", "nvidia.com/gpu: 4 of 8 healthy", ""},
    {"AgentWithNothing", [](NodeFacts& n) { n.agent.resources.clear(); }, Severity::kError,
     "agent.resources", "advertises nothing", ""},
    {"AgentWithAProblem",
     [](NodeFacts& n) {
       n.agent.problems = {{Severity::kWarning, "agent.problem", "GPU is unhealthy", "Reset it."}};
     },
     Severity::kWarning, "agent.problem", "GPU is unhealthy", "Reset it."},
    {"TalosWithoutToolkit",
     [](NodeFacts& n) {
       n.talos = true;
       n.extensions = {"nonfree-kmod-nvidia-production"};
     },
     Severity::kError, "talos.toolkit", "container toolkit",
     "siderolabs/nvidia-container-toolkit-production"},
    {"TalosWithoutModules",
     [](NodeFacts& n) {
       n.talos = true;
       n.extensions = {"nvidia-container-toolkit-production"};
     },
     Severity::kError, "talos.kmod", "kernel modules", "siderolabs/nonfree-kmod-nvidia-production"},
};

INSTANTIATE_TEST_SUITE_P(Node, Wrong, testing::ValuesIn(kCases),
                         [](const auto& each) { return each.param.name; });

TEST(Node, WithoutADriverHasEachMissingModuleAsAnError) {
  for (const char* module : {"nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset"}) {
    NodeFacts node = healthy();
    node.driver_problem = "no driver";
    without_module(node, module);
    const Findings found = bad(examine_node(node));
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].check, std::string("module.") + module);
    EXPECT_EQ(found[0].severity, Severity::kError);
  }
}

TEST(Node, WithoutAGpuOnTheBusIsAnErrorUnlessTheDriverHasOne) {
  NodeFacts node = healthy();
  node.gpus.clear();
  EXPECT_THAT(bad(examine_node(node)), IsEmpty());
  node.driver_gpus = 0;
  EXPECT_EQ(examine_node(node)[0].severity, Severity::kError);
}

TEST(Extensions, AreReadFromTalosOwnList) {
  constexpr const char* kList =
      "layers:\n"
      "    - image: 000.ghcr.io-siderolabs-nonfree-kmod-nvidia-535.sqsh\n"
      "      metadata:\n"
      "        name: nonfree-kmod-nvidia-production\n"
      "        version: 535.154.05-v1.7.6\n"
      "    - image: 001.sqsh\n"
      "      metadata:\n"
      "        name: \"schematic\"\n";
  EXPECT_THAT(extension_names(kList), ElementsAre("nonfree-kmod-nvidia-production", "schematic"));
  EXPECT_THAT(extension_names("name: \"\nname:\n- name: a\n"), ElementsAre("\"", "a"));
}

TEST(Extensions, WithOpenKernelModulesAreEnough) {
  const Findings found =
      examine_extensions({"extensions.talos.dev/nvidia-open-gpu-kernel-modules-lts",
                          "extensions.talos.dev/nvidia-container-toolkit-lts"});
  EXPECT_THAT(bad(found), IsEmpty());
}

}  // namespace
}  // namespace kerf::doctor
