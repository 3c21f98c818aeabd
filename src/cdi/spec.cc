// Composing specifications from GPUs, files and settings.
#include "cdi/spec.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/roots.h"
#include "cdi/hooks.h"
#include "cdi/render.h"

namespace kerf::cdi {
namespace {

using config::DeviceListStrategy;

constexpr std::array<const char*, 4> kControlNodes = {"/dev/nvidia-modeset", "/dev/nvidia-uvm",
                                                      "/dev/nvidia-uvm-tools", "/dev/nvidiactl"};
const std::vector<std::string> kReadOnly = {"ro", "nosuid", "nodev", "rbind", "rprivate"};
const std::vector<std::string> kSocket = {"nosuid", "nodev", "rbind", "rprivate", "noexec"};

std::ptrdiff_t depth(const std::string& path) { return std::count(path.begin(), path.end(), '/'); }

// Parents come before what lies in them, and nothing comes twice.
template <typename T, typename Path>
void put_in_order(std::vector<T>& list, Path path) {
  std::ranges::sort(list, [&](const T& a, const T& b) {
    return std::pair(depth(path(a)), path(a)) < std::pair(depth(path(b)), path(b));
  });
  auto again =
      std::ranges::unique(list, [&](const T& a, const T& b) { return path(a) == path(b); });
  list.erase(again.begin(), again.end());
}

void put_in_order(ContainerEdits& edits) {
  put_in_order(edits.nodes, [](const DeviceNode& node) { return node.path; });
  put_in_order(edits.mounts, [](const Mount& mount) { return mount.container_path; });
  std::ranges::sort(edits.additional_gids);
  auto again = std::ranges::unique(edits.additional_gids);
  edits.additional_gids.erase(again.begin(), again.end());
}

class Composer {
 public:
  Composer(const inventory::Snapshot& snapshot, const config::Config& config,
           const DriverTree& tree)
      : snapshot_(snapshot),
        config_(config),
        tree_(tree),
        gids_(!has_feature(config, "no-additional-gids-for-device-nodes")) {}

  Spec gpu(Specs& out) const;
  Spec imex(const std::vector<int>& channels) const;
  Spec all(const char* device_class, const std::vector<std::string>& nodes,
           const std::vector<DriverFile>& files) const;
  // Device nodes that exist whose path begins so.
  std::vector<std::string> nodes_like(const std::string& prefix) const;

 private:
  void add_node(ContainerEdits& edits, const std::string& path) const;
  void add_files(ContainerEdits& edits, const std::vector<DriverFile>& files,
                 const std::vector<std::string>& options) const;
  void add_drm(ContainerEdits& edits, const inventory::Gpu& gpu) const;
  void add_device(Spec& spec, const std::string& uuid, const std::string& index,
                  ContainerEdits edits, Specs& out) const;
  ContainerEdits common() const;

  const inventory::Snapshot& snapshot_;
  const config::Config& config_;
  const DriverTree& tree_;
  bool gids_;
};

void Composer::add_node(ContainerEdits& edits, const std::string& path) const {
  DeviceNode node;
  node.path = path;
  node.host_path = join_path(config_.dev_root, path);
  if (node.host_path == path) node.host_path.clear();
  if (auto found = tree_.nodes.find(path); found != tree_.nodes.end()) {
    const NodeFacts& facts = found->second;
    node.major = facts.major;
    node.minor = facts.minor;
    node.file_mode = facts.mode;
    node.gid = facts.gid;
    constexpr unsigned kOthersReadAndWrite = 06;
    const bool open = (facts.mode.value_or(0) & kOthersReadAndWrite) == kOthersReadAndWrite;
    if (gids_ && facts.gid && !open) edits.additional_gids.push_back(*facts.gid);
  }
  edits.nodes.push_back(std::move(node));
}

void Composer::add_files(ContainerEdits& edits, const std::vector<DriverFile>& files,
                         const std::vector<std::string>& options) const {
  for (const DriverFile& file : files) {
    edits.mounts.push_back({join_path(config_.driver_root, file.target), file.path, options, ""});
  }
}

void Composer::add_drm(ContainerEdits& edits, const inventory::Gpu& gpu) const {
  if (auto found = tree_.drm.find(gpu.pci_bus_id); found != tree_.drm.end()) {
    for (const std::string& name : found->second) add_node(edits, "/dev/dri/" + name);
  }
  if (auto found = tree_.drm_links.find(gpu.pci_bus_id); found != tree_.drm_links.end()) {
    edits.hooks = link_hook(config_, tree_, found->second);
  }
}

void Composer::add_device(Spec& spec, const std::string& uuid, const std::string& index,
                          ContainerEdits edits, Specs& out) const {
  const std::string& name =
      config_.device_id_strategy == config::DeviceIdStrategy::kUuid ? uuid : index;
  if (!valid_device_name(name)) {
    out.notes.push_back("left out of the CDI specification, because its name is no CDI name: " +
                        name);
    return;
  }
  if (std::ranges::any_of(spec.devices, [&](const Device& d) { return d.name == name; })) return;
  put_in_order(edits);
  spec.devices.push_back({name, {}, std::move(edits)});
}

ContainerEdits Composer::common() const {
  ContainerEdits edits;
  edits.env = {"NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_CTK_LIBCUDA_DIR=" + tree_.library_dir};
  for (const char* node : kControlNodes) {
    if (tree_.nodes.contains(node)) add_node(edits, node);
  }
  add_files(edits, tree_.libraries, kReadOnly);
  add_files(edits, tree_.programs, kReadOnly);
  add_files(edits, tree_.firmware, kReadOnly);
  add_files(edits, tree_.configs, kReadOnly);
  if (!has_feature(config_, "disable-ipc-discoverer")) add_files(edits, tree_.sockets, kSocket);
  put_in_order(edits);
  edits.hooks = common_hooks(config_, tree_);
  return edits;
}

Spec Composer::gpu(Specs& out) const {
  Spec spec{.device_class = "gpu", .devices = {}, .common = {}, .annotations = {}};
  for (const inventory::Gpu& gpu : snapshot_.gpus) {
    if (gpu.unhealthy && gpu.unhealthy->reason == "gpu_lost") continue;
    const std::string node = "/dev/nvidia" + std::to_string(gpu.minor);
    if (!gpu.mig_enabled) {
      ContainerEdits edits;
      add_node(edits, node);
      add_drm(edits, gpu);
      add_device(spec, gpu.uuid, std::to_string(gpu.index), std::move(edits), out);
      continue;
    }
    for (const inventory::MigDevice& mig : gpu.mig_devices) {
      if (!mig.gpu_instance_minor || !mig.compute_instance_minor) {
        out.notes.push_back(
            "left out of the CDI specification, because its capability devices "
            "are unknown: " +
            mig.uuid);
        continue;
      }
      ContainerEdits edits;
      add_node(edits, node);
      for (unsigned minor : {*mig.gpu_instance_minor, *mig.compute_instance_minor}) {
        add_node(edits, "/dev/nvidia-caps/nvidia-cap" + std::to_string(minor));
      }
      if (mig.profile.find("+gfx") != std::string::npos) add_drm(edits, gpu);
      add_device(spec, mig.uuid, std::to_string(gpu.index) + ":" + std::to_string(mig.index),
                 std::move(edits), out);
    }
  }
  std::ranges::sort(spec.devices, {}, &Device::name);
  if (!spec.devices.empty()) spec.common = common();
  return spec;
}

Spec Composer::imex(const std::vector<int>& channels) const {
  Spec spec{.device_class = "imex-channel", .devices = {}, .common = {}, .annotations = {}};
  for (int channel : std::set<int>(channels.begin(), channels.end())) {
    Device device;
    device.name = std::to_string(channel);
    add_node(device.edits, "/dev/nvidia-caps-imex-channels/channel" + device.name);
    put_in_order(device.edits);
    spec.devices.push_back(std::move(device));
  }
  std::ranges::sort(spec.devices, {}, &Device::name);
  return spec;
}

Spec Composer::all(const char* device_class, const std::vector<std::string>& nodes,
                   const std::vector<DriverFile>& files) const {
  Spec spec{.device_class = device_class, .devices = {}, .common = {}, .annotations = {}};
  if (nodes.empty()) return spec;
  Device device;
  device.name = "all";
  for (const std::string& node : nodes) add_node(device.edits, node);
  add_files(device.edits, files, kReadOnly);
  put_in_order(device.edits);
  spec.devices.push_back(std::move(device));
  return spec;
}

std::vector<std::string> Composer::nodes_like(const std::string& prefix) const {
  std::vector<std::string> paths;
  for (auto at = tree_.nodes.lower_bound(prefix);
       at != tree_.nodes.end() && at->first.starts_with(prefix); ++at) {
    paths.push_back(at->first);
  }
  return paths;
}

std::optional<Error> missing(const inventory::Snapshot& snapshot, const config::Config& config,
                             const DriverTree& tree) {
  const std::string& root = config.container_driver_root;
  if (tree.version.empty()) {
    return Error{Kind::kNotFound,
                 "the driver's libraries are not there, so that no CDI "
                 "specification for GPUs can be written",
                 root,
                 "mount the driver's root there, or name another place with "
                 "--driver-root-ctr-path (DRIVER_ROOT_CTR_PATH)"};
  }
  const std::string& running = snapshot.driver.version;
  if (!running.empty() && running != tree.version) {
    return Error{Kind::kConflict,
                 "the driver that runs is " + running + ", but the libraries are those of " +
                     tree.version + ", so that no CDI specification for GPUs can be written",
                 join_path(root, tree.library_dir),
                 "reload the driver (or restart the node) after an update of its libraries"};
  }
  if (!tree.nodes.contains("/dev/nvidiactl")) {
    return Error{Kind::kNotFound,
                 "the driver's device nodes are not visible, so that no CDI "
                 "specification for GPUs can be written",
                 "nvidiactl",
                 "load the driver, and mount the host's device tree into the plugin's container"};
  }
  return std::nullopt;
}

}  // namespace

bool wanted(const config::Config& config) {
  return std::ranges::any_of(config.device_list_strategies, [](DeviceListStrategy strategy) {
    return strategy == DeviceListStrategy::kCdiAnnotations ||
           strategy == DeviceListStrategy::kCdiCri;
  });
}

bool has_feature(const config::Config& config, std::string_view value) {
  return std::ranges::find(config.cdi_feature_flags, value) != config.cdi_feature_flags.end();
}

Specs make_specs(const inventory::Snapshot& snapshot, const config::Config& config,
                 const DriverTree& tree, const std::vector<int>& imex_channels) {
  Specs out;
  const Composer composer(snapshot, config, tree);
  auto take = [&](Spec spec) {
    if (spec.devices.empty()) {
      out.empty.push_back(spec.device_class);
    } else if (Status status = check(spec); !status) {
      out.notes.push_back("no CDI specification: " + status.error().text());
    } else {
      out.specs.push_back(std::move(spec));
    }
  };
  Spec gpu = composer.gpu(out);
  if (!gpu.devices.empty()) out.gpu_trouble = missing(snapshot, config, tree);
  if (!out.gpu_trouble) take(std::move(gpu));
  if (!config.imex_channel_ids.empty()) take(composer.imex(imex_channels));
  if (config.gdrcopy_enabled) {
    take(composer.all("gdrcopy", composer.nodes_like("/dev/gdrdrv"), {}));
  }
  if (config.gds_enabled) {
    take(composer.all("gds", composer.nodes_like("/dev/nvidia-fs"), tree.gds_mounts));
  }
  if (config.mofed_enabled) {
    std::vector<std::string> nodes = composer.nodes_like("/dev/infiniband/uverbs");
    for (std::string& node : composer.nodes_like("/dev/infiniband/rdma_cm")) {
      nodes.push_back(std::move(node));
    }
    take(composer.all("mofed", nodes, {}));
  }
  return out;
}

}  // namespace kerf::cdi
