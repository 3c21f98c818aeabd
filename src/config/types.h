// The effective configuration as plain values. Knows nothing of YAML, flags or environment;
// `config/load.h` fills it. Field meanings: device-plugin contract §1.3, §1.4, §2.1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/exporter.h"
#include "config/health.h"
#include "config/power.h"
#include "config/usage.h"

namespace kerf::config {

enum class MigStrategy { kNone, kSingle, kMixed };
enum class DeviceListStrategy { kEnvvar, kVolumeMounts, kCdiAnnotations, kCdiCri };
enum class DeviceIdStrategy { kUuid, kIndex };
enum class AllocationPolicy { kDistributed, kPacked };
enum class DiscoveryStrategy { kAuto, kNvml, kTegra };

// A device named in a config file.
struct ByIndex {
  unsigned gpu = 0;
  std::optional<unsigned> mig;  // set for "gpu:mig"
  bool operator==(const ByIndex&) const = default;
};
struct ByUuid {
  std::string
      uuid;  // "GPU-…", "MIG-…" or "MIG-GPU-…/gi/ci"; hexadecimal in lower case, with dashes
  bool operator==(const ByUuid&) const = default;
};
// Every device of this GPU: the GPU itself or its MIG devices.
struct ByPci {
  std::string bus_id;  // "0000:3b:00.0", lower case
  bool operator==(const ByPci&) const = default;
};
// Every device of the GPUs whose product name matches ('*' = any run of characters, anchored).
struct ByModel {
  std::string pattern;
  bool operator==(const ByModel&) const = default;
};
using DeviceRef = std::variant<ByIndex, ByUuid, ByPci, ByModel>;

// Most replicas one device may be cut into. NVIDIA's plugin has no limit; more than this is a slip
// of the keyboard that would flood the kubelet's device list.
inline constexpr unsigned kMaxReplicas = 1000;

// Which devices of a resource a rule applies to: all, the first n (by index), or those listed (an
// empty list selects none).
struct AllDevices {
  bool operator==(const AllDevices&) const = default;
};
struct FirstDevices {
  unsigned count = 0;
  bool operator==(const FirstDevices&) const = default;
};
using DeviceSelector = std::variant<AllDevices, FirstDevices, std::vector<DeviceRef>>;

// What one client may use of a device that is shared by MPS, in place of an equal share. A feature
// of kerf. Absent: the equal share.
struct MpsLimits {
  std::optional<std::uint64_t> memory_mib;    // pinned device memory, at least 1
  std::optional<unsigned> thread_percentage;  // active threads, 1 to 100
  bool operator==(const MpsLimits&) const = default;
};

// One entry of sharing.<strategy>.resources. A resource may be listed more than once with different
// `devices`; for a device that several entries select, the first of them holds.
struct SharedResource {
  std::string name;                   // fully qualified: "nvidia.com/gpu"
  std::optional<std::string> rename;  // fully qualified; renameByDefault is already applied here
  DeviceSelector devices = AllDevices{};
  unsigned replicas = 1;  // 2 to kMaxReplicas; 1 is accepted and means: not shared
  MpsLimits limits;       // sharing.mps only
  bool operator==(const SharedResource&) const = default;
};

struct Sharing {
  bool rename_by_default = false;
  bool fail_requests_greater_than_one = false;
  std::vector<SharedResource> resources;
  bool operator==(const Sharing&) const = default;
};

enum class SharingStrategy { kNone, kTimeSlicing, kMps };

// resources.gpus[] / resources.mig[]: devices whose product (gpus) or profile (mig) name matches
// `pattern` ('*' = any run of characters, anchored) are advertised as `name`. First match wins;
// what no rule matches keeps the name that the MIG strategy gives it.
struct ResourceRule {
  std::string pattern;
  std::string name;  // fully qualified
  bool operator==(const ResourceRule&) const = default;
};

// Node labels: flags.gfd, flags.useNodeFeatureAPI.
struct LabelOptions {
  bool use_node_feature_api = true;  // false: output_file
  bool node_labels = false;          // on the Node itself, instead of either
  bool pci_labels = false;           // feature.node.kubernetes.io/pci-…present as well
  bool oneshot = false;
  bool no_timestamp = false;
  std::int64_t interval_ns = 60'000'000'000;  // kForever (duration.h): never look again
  std::string output_file = "/etc/kubernetes/node-feature-discovery/features.d/gfd";  // "": stdout
  std::string machine_type_file = "/sys/class/dmi/id/product_name";                   // "": unknown
  bool operator==(const LabelOptions&) const = default;
};

struct Config {
  // flags
  MigStrategy mig_strategy = MigStrategy::kNone;
  bool fail_on_init_error = true;
  std::string mps_root;
  std::string driver_root = "/";  // on the host
  std::string dev_root = "/";     // on the host; defaults to driver_root
  bool gdrcopy_enabled = false;
  bool gds_enabled = false;
  bool mofed_enabled = false;
  DiscoveryStrategy discovery = DiscoveryStrategy::kAuto;
  // flags.plugin
  bool pass_device_specs = false;
  std::vector<DeviceListStrategy> device_list_strategies = {DeviceListStrategy::kEnvvar};
  DeviceIdStrategy device_id_strategy = DeviceIdStrategy::kUuid;
  std::string cdi_annotation_prefix = "cdi.k8s.io/";
  std::string cdi_hook_path = "/usr/bin/nvidia-ctk";
  std::string container_driver_root = "/driver-root";
  AllocationPolicy allocation_policy = AllocationPolicy::kDistributed;
  // resources (empty: every GPU is nvidia.com/gpu, MIG by strategy)
  std::vector<ResourceRule> gpu_rules;
  std::vector<ResourceRule> mig_rules;
  // sharing
  SharingStrategy sharing_strategy = SharingStrategy::kNone;
  Sharing sharing;  // of the active strategy
  // imex
  std::vector<int> imex_channel_ids;  // {} or {0}
  bool imex_required = false;
  LabelOptions labels;
  // not in the file, flag and environment only
  std::vector<std::string> cdi_feature_flags;
  std::vector<std::string> cdi_disable_hooks;
  // DP_DISABLE_HEALTHCHECKS, DP_ENABLE_HEALTHCHECKS as given ("xids,79"); "" is the same as unset
  std::string disable_health_checks;
  std::string enable_health_checks;
  HealthOptions health;
  PowerOptions power;
  UsageOptions usage;
  bool operator==(const Config&) const = default;
};

// Settings of the process rather than of the devices: never read from the config file.
struct ProcessOptions {
  std::string kubelet_socket = "/var/lib/kubelet/device-plugins/kubelet.sock";  // "": no kubelet
  // "": nobody is asked who holds which device
  std::string pod_resources_socket = "/var/lib/kubelet/pod-resources/kubelet.sock";
  std::string config_file;  // "": none
  std::vector<std::string> components = {"devices", "http"};
  std::string mps_dir = "/mps";       // mps_root as seen by this process
  std::string listen = ":2112";       // host:port, ":port" (all addresses) or "none"
  std::string nvml_library;           // "": search
  std::string root = "/";             // prefix of sys, proc, dev, etc
  std::string state_dir;              // "": run/kerf below the root; "none": nothing is kept
  std::string log_level = "info";     // debug info warn error
  std::string log_format = "logfmt";  // logfmt json
  std::string node_name;
  // Named configurations, one of which the node's label chooses; "" srcdir: none.
  std::string config_srcdir;
  std::string node_label = "nvidia.com/device-plugin.config";
  std::string default_config;
  std::vector<std::string> fallback_strategies;  // see config/choose.h
  std::string kubeconfig;                        // "": the pod's service account
  std::string name_space;                        // of objects made; "": that of the pod
  std::string pod_name;                          // "": unknown
  double kube_api_qps = 5;                       // requests per second; 0: no limit
  unsigned kube_api_burst = 10;
  ExporterOptions exporter;
  bool operator==(const ProcessOptions&) const = default;
};

}  // namespace kerf::config
