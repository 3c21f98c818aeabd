// From device ids to container edits.
#include "allocate/allocate.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "allocate/cdi.h"
#include "edits/edits.h"
#include "edits/nvidia.h"

namespace kerf::allocate {
namespace {

using config::DeviceIdStrategy;
using config::DeviceListStrategy;

Unexpected refuse(Kind kind, const Index& index, std::string why) {
  return fail(kind, "invalid allocation request for \"" + index.resource().name +
                        "\": invalid request: " + std::move(why));
}

// One device for each physical device asked for, in the order in which containers see them.
Result<std::vector<std::uint32_t>> distinct_devices(const Index& index,
                                                    std::span<const std::string_view> ids) {
  const plan::Resource& resource = index.resource();
  std::vector<std::uint32_t> chosen;
  std::vector<bool> seen(index.groups().size());
  bool any_replica = false;
  for (std::string_view id : ids) {
    const auto device = index.find(id);
    if (!device) return refuse(Kind::kInvalid, index, "unknown device: " + std::string(id));
    any_replica = any_replica || resource.devices[*device].replica.has_value();
    const std::uint32_t group = index.group_of(*device);
    if (seen[group]) continue;
    seen[group] = true;
    chosen.push_back(*device);
  }
  if (any_replica && resource.fail_requests_greater_than_one && ids.size() > 1) {
    return refuse(
        Kind::kInvalid, index,
        "maximum request size for shared resources is 1; found " + std::to_string(ids.size()));
  }
  if (index.plan().config.device_id_strategy == DeviceIdStrategy::kIndex) {
    std::sort(chosen.begin(), chosen.end());
  }
  return chosen;
}

// The names of CDI devices, where a strategy asks for them.
Status add_cdi(edits::Edits& into, const Index& index, std::span<const std::string_view> ids,
               const std::vector<std::string_view>& names, const HostFacts& host) {
  const config::Config& config = index.plan().config;
  auto devices = cdi_devices(config, names, host);
  if (!devices) return fail(std::move(devices.error()));
  merge(into,
        cdi_edits(config,
                  cdi_annotation_key(config.cdi_annotation_prefix, index.resource().name, ids),
                  *devices));
  return {};
}

bool uses(const config::Config& config, DeviceListStrategy strategy) {
  const auto& strategies = config.device_list_strategies;
  return std::find(strategies.begin(), strategies.end(), strategy) != strategies.end();
}

template <typename Range, typename Name>
std::string joined(const Range& range, Name name) {
  std::string text;
  for (const auto& item : range) {
    if (!text.empty()) text.push_back(',');
    text += name(item);
  }
  return text;
}

void add_features(edits::Edits& into, const config::Config& config) {
  if (config.gdrcopy_enabled) merge(into, edits::gdrcopy());
  if (config.gds_enabled) merge(into, edits::gds());
  if (config.mofed_enabled) merge(into, edits::mofed());
}

// The way to the daemon that serves the resource. A whole device of the same resource needs none.
void add_mps(edits::Edits& into, const Index& index, const std::vector<std::uint32_t>& devices) {
  const plan::Resource& resource = index.resource();
  const bool any_replica = std::ranges::any_of(
      devices, [&](std::uint32_t at) { return resource.devices[at].replica.has_value(); });
  if (resource.mps.empty() || !any_replica) return;
  merge(into, edits::mps_client(index.plan().config.mps_root, resource.name));
}

void add_mounts(edits::Edits& into, const std::vector<std::string_view>& names,
                const HostFacts& host) {
  merge(into, edits::visible_devices_as_mounts());
  for (std::string_view name : names) merge(into, edits::visible_device_mount(name));
  for (int channel : host.imex_channels) merge(into, edits::imex_channel_mount(channel));
}

Status add_nodes_of(edits::Edits& into, const Index& index, const plan::Device& device) {
  const std::string& dev_root = index.plan().config.dev_root;
  const auto& gpus = index.plan().snapshot->gpus;
  if (device.gpu >= gpus.size()) {
    return refuse(Kind::kInternal, index, "no such GPU in the snapshot: " + device.physical_id);
  }
  const inventory::Gpu& gpu = gpus[device.gpu];
  merge(into, edits::gpu_node(dev_root, gpu.minor));
  if (!device.mig) return {};
  if (*device.mig >= gpu.mig_devices.size()) {
    return refuse(Kind::kInternal, index, "no such MIG device: " + device.physical_id);
  }
  const inventory::MigDevice& mig = gpu.mig_devices[*device.mig];
  const std::string instance =
      "gpu" + std::to_string(gpu.minor) + "/mig/gi" + std::to_string(mig.gpu_instance);
  if (!mig.gpu_instance_minor) {
    return refuse(Kind::kNotFound, index, "missing MIG GPU instance capability: " + instance);
  }
  if (!mig.compute_instance_minor) {
    return refuse(Kind::kNotFound, index,
                  "missing MIG compute instance capability: " + instance + "/ci" +
                      std::to_string(mig.compute_instance));
  }
  merge(into, edits::capability_node(dev_root, *mig.gpu_instance_minor));
  merge(into, edits::capability_node(dev_root, *mig.compute_instance_minor));
  return {};
}

Status add_nodes(edits::Edits& into, const Index& index, const std::vector<std::uint32_t>& devices,
                 const HostFacts& host) {
  const std::string& dev_root = index.plan().config.dev_root;
  if (host.nvidiactl) merge(into, edits::control_node(dev_root, "nvidiactl"));
  if (host.uvm) merge(into, edits::control_node(dev_root, "nvidia-uvm"));
  if (host.uvm_tools) merge(into, edits::control_node(dev_root, "nvidia-uvm-tools"));
  if (host.modeset) merge(into, edits::control_node(dev_root, "nvidia-modeset"));
  for (std::uint32_t device : devices) {
    if (Status status = add_nodes_of(into, index, index.resource().devices[device]); !status) {
      return status;
    }
  }
  for (int channel : host.imex_channels) {
    merge(into, edits::imex_channel_node(dev_root, channel));
  }
  return {};
}

}  // namespace

Result<edits::Edits> allocate(const Index& index, std::span<const std::string_view> ids,
                              const HostFacts& host) {
  if (ids.empty()) return edits::visible_devices({});
  auto devices = distinct_devices(index, ids);
  if (!devices) return fail(std::move(devices.error()));

  const config::Config& config = index.plan().config;
  std::vector<std::string_view> names;
  names.reserve(devices->size());
  for (std::uint32_t at : *devices) {
    const plan::Device& device = index.resource().devices[at];
    names.emplace_back(config.device_id_strategy == DeviceIdStrategy::kUuid ? device.physical_id
                                                                            : device.index);
  }

  edits::Edits edits;
  if (uses(config, DeviceListStrategy::kCdiAnnotations) ||
      uses(config, DeviceListStrategy::kCdiCri)) {
    if (Status status = add_cdi(edits, index, ids, names, host); !status) {
      return fail(std::move(status.error()));
    }
  }
  add_mps(edits, index, *devices);
  add_features(edits, config);
  if (uses(config, DeviceListStrategy::kEnvvar)) {
    merge(edits, edits::visible_devices(joined(names, [](std::string_view name) { return name; })));
    if (!host.imex_channels.empty()) {
      merge(edits, edits::imex_channels(joined(
                       host.imex_channels, [](int channel) { return std::to_string(channel); })));
    }
  }
  if (uses(config, DeviceListStrategy::kVolumeMounts)) add_mounts(edits, names, host);
  // Under CDI alone the runtime gets everything by name.
  const bool listed =
      uses(config, DeviceListStrategy::kEnvvar) || uses(config, DeviceListStrategy::kVolumeMounts);
  if (config.pass_device_specs && listed) {
    if (Status status = add_nodes(edits, index, *devices, host); !status) {
      return fail(std::move(status.error()));
    }
  }
  return edits;
}

}  // namespace kerf::allocate
