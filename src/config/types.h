// The effective configuration as plain values. Knows nothing of YAML, flags or environment;
// `config/load.h` fills it. Field meanings: device-plugin contract §1.3, §1.4, §2.1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

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
  std::string uuid;  // "GPU-…", "MIG-…"
  bool operator==(const ByUuid&) const = default;
};
using DeviceRef = std::variant<ByIndex, ByUuid>;

// Which devices of a resource a rule applies to: all, the first n (by index), or those listed.
struct AllDevices {
  bool operator==(const AllDevices&) const = default;
};
struct FirstDevices {
  unsigned count = 0;
  bool operator==(const FirstDevices&) const = default;
};
using DeviceSelector = std::variant<AllDevices, FirstDevices, std::vector<DeviceRef>>;

// One entry of sharing.<strategy>.resources.
struct SharedResource {
  std::string name;                   // fully qualified: "nvidia.com/gpu"
  std::optional<std::string> rename;  // fully qualified; renameByDefault is already applied here
  DeviceSelector devices = AllDevices{};
  unsigned replicas = 1;  // 2 and more (1 is accepted and means: not shared)
};

struct Sharing {
  bool rename_by_default = false;
  bool fail_requests_greater_than_one = false;
  std::vector<SharedResource> resources;
};

enum class SharingStrategy { kNone, kTimeSlicing, kMps };

// resources.gpus[] / resources.mig[]: devices whose product (gpus) or profile (mig) name matches
// `pattern` ('*' = any run of characters, anchored) are advertised as `name`. First match wins.
struct ResourceRule {
  std::string pattern;
  std::string name;  // fully qualified
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
  std::vector<int> imex_channel_ids;
  bool imex_required = false;
};

// Settings of the process rather than of the devices: never read from the config file.
struct ProcessOptions {
  std::string kubelet_socket = "/var/lib/kubelet/device-plugins/kubelet.sock";  // "": no kubelet
  std::string config_file;                                                      // "": none
  std::vector<std::string> components = {"devices", "http"};
  std::string listen = ":2112";       // host:port, ":port" (all addresses) or "none"
  std::string nvml_library;           // "": search
  std::string root = "/";             // prefix of sys, proc, dev, etc
  std::string log_level = "info";     // debug info warn error
  std::string log_format = "logfmt";  // logfmt json
  std::string node_name;
};

}  // namespace kerf::config
