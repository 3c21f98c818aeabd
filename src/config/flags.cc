#include "config/flags.h"

#include <algorithm>

namespace kerf::config {
namespace {

using enum FlagKind;

std::vector<FlagSpec> build_table() {
  return {
      {"config-file", {}, {"CONFIG_FILE"}, kString, "", "", {},
       "configuration file (version: v1), YAML or JSON"},
      {"mig-strategy", {}, {"MIG_STRATEGY"}, kString, "none", "flags.migStrategy",
       {"none", "single", "mixed"}, "how MIG devices are advertised"},
      {"fail-on-init-error", {}, {"FAIL_ON_INIT_ERROR"}, kBool, "true", "flags.failOnInitError", {},
       "end when the driver cannot be initialised; false: stay up and wait for it"},
      {"driver-root", {"nvidia-driver-root"}, {"NVIDIA_DRIVER_ROOT"}, kString, "/",
       "flags.nvidiaDriverRoot", {}, "root of the driver's installation on the host"},
      {"dev-root", {"nvidia-dev-root"}, {"NVIDIA_DEV_ROOT"}, kString, "", "flags.nvidiaDevRoot", {},
       "root of the device nodes on the host; empty: the driver root"},
      {"pass-device-specs", {}, {"PASS_DEVICE_SPECS"}, kBool, "false",
       "flags.plugin.passDeviceSpecs", {}, "name the device nodes in the answer to Allocate"},
      {"device-list-strategy", {}, {"DEVICE_LIST_STRATEGY"}, kStringList, "envvar",
       "flags.plugin.deviceListStrategy",
       {"envvar", "volume-mounts", "cdi-annotations", "cdi-cri"},
       "how containers are told their devices; several, comma separated"},
      {"device-id-strategy", {}, {"DEVICE_ID_STRATEGY"}, kString, "uuid",
       "flags.plugin.deviceIDStrategy", {"uuid", "index"}, "what containers are told: UUID or index"},
      {"gdrcopy-enabled", {}, {"GDRCOPY_ENABLED"}, kBool, "false", "flags.gdrcopyEnabled", {},
       "give containers what GDRCopy needs"},
      {"gds-enabled", {}, {"GDS_ENABLED"}, kBool, "false", "flags.gdsEnabled", {},
       "give containers what GPUDirect Storage needs"},
      {"mofed-enabled", {}, {"MOFED_ENABLED"}, kBool, "false", "flags.mofedEnabled", {},
       "give containers what Mellanox OFED needs"},
      {"cdi-annotation-prefix", {}, {"CDI_ANNOTATION_PREFIX"}, kString, "cdi.k8s.io/",
       "flags.plugin.cdiAnnotationPrefix", {}, "prefix of CDI annotation keys"},
      {"nvidia-cdi-hook-path", {"nvidia-ctk-path"}, {"NVIDIA_CDI_HOOK_PATH", "NVIDIA_CTK_PATH"},
       kString, "/usr/bin/nvidia-ctk", "flags.plugin.nvidiaCTKPath", {},
       "the CDI hook's program on the host"},
      {"driver-root-ctr-path", {"container-driver-root"},
       {"DRIVER_ROOT_CTR_PATH", "CONTAINER_DRIVER_ROOT"}, kString, "/driver-root",
       "flags.plugin.containerDriverRoot", {},
       "where the host's driver root is mounted in this container"},
      {"mps-root", {}, {"MPS_ROOT"}, kString, "", "flags.mpsRoot", {},
       "directory of MPS files on the host"},
      {"shared-devices-allocation-policy", {}, {"SHARED_DEVICES_ALLOCATION_POLICY"}, kString,
       "distributed", "flags.plugin.sharedDevicesAllocationPolicy", {"distributed", "packed"},
       "spread replicas over the GPUs, or fill one GPU after the other"},
      {"device-discovery-strategy", {}, {"DEVICE_DISCOVERY_STRATEGY"}, kString, "auto",
       "flags.deviceDiscoveryStrategy", {"auto", "nvml", "tegra"}, "how GPUs are found"},
      {"imex-channel-ids", {}, {"IMEX_CHANNEL_IDS"}, kIntList, "", "imex.channelIDs", {},
       "IMEX channels to inject: none or 0"},
      {"imex-required", {}, {"IMEX_REQUIRED"}, kBool, "false", "imex.required", {},
       "end when a listed IMEX channel is missing"},
      {"kubelet-socket", {}, {"KUBELET_SOCKET"}, kString,
       "/var/lib/kubelet/device-plugins/kubelet.sock", "", {},
       "the kubelet's registration socket; empty: never register"},
      {"cdi-feature-flags", {}, {"CDI_FEATURE_FLAGS"}, kStringList, "", "",
       {"enable-explicit-driver-libraries", "disable-nvsandboxutils", "enable-coherent-annotations",
        "disable-multiple-csv-devices", "no-additional-gids-for-device-nodes",
        "disable-ipc-discoverer"},
       "switches of CDI generation"},
      {"cdi-disable-hooks", {}, {"CDI_DISABLE_HOOKS"}, kStringList, "", "", {},
       "CDI hooks to leave out, or all"},
      {"disable-healthchecks", {}, {"DP_DISABLE_HEALTHCHECKS"}, kString, "", "", {},
       "XIDs that do not make a GPU unhealthy; all or xids: no health checks (the flag is kerf's)"},
      {"enable-healthchecks", {}, {"DP_ENABLE_HEALTHCHECKS"}, kString, "", "", {},
       "XIDs that make a GPU unhealthy although ignored otherwise (the flag is kerf's)"},
      {"components", {}, {"KERF_COMPONENTS"}, kStringList, "devices,http", "", {"devices", "http"},
       "what this process does (kerf)"},
      {"listen", {}, {"KERF_LISTEN"}, kString, ":2112", "", {},
       "address of /metrics, /health and the status page: host:port, :port or none (kerf)"},
      {"nvml-library", {}, {"KERF_NVML_LIBRARY"}, kString, "", "", {},
       "exact path of libnvidia-ml.so.1; empty: search (kerf)"},
      {"root", {}, {"KERF_ROOT"}, kString, "/", "", {},
       "prefix of the host's sys, proc, dev and etc trees (kerf)"},
      {"log-level", {}, {"KERF_LOG_LEVEL"}, kString, "info", "",
       {"debug", "info", "warn", "error"}, "least severe level that is logged (kerf)"},
      {"log-format", {}, {"KERF_LOG_FORMAT"}, kString, "logfmt", "", {"logfmt", "json"},
       "how log lines are written (kerf)"},
      {"node-name", {}, {"NODE_NAME"}, kString, "", "", {}, "name of this node (kerf)"},
  };
}

}  // namespace

std::span<const FlagSpec> agent_flags() {
  static const std::vector<FlagSpec> kTable = build_table();
  return kTable;
}

const FlagSpec* find_flag(std::string_view name) {
  while (name.starts_with('-')) name.remove_prefix(1);
  for (const FlagSpec& spec : agent_flags()) {
    if (spec.name == name || std::count(spec.aliases.begin(), spec.aliases.end(), name) > 0) {
      return &spec;
    }
  }
  return nullptr;
}

const FlagSpec* find_file_flag(std::string_view file_path) {
  for (const FlagSpec& spec : agent_flags()) {
    if (!file_path.empty() && spec.file_path == file_path) return &spec;
  }
  return nullptr;
}

}  // namespace kerf::config
