// Names and paths of NVIDIA's container runtime, inside the container.
#include "edits/nvidia.h"

#include <utility>

#include "edits/edits.h"

namespace kerf::edits {
namespace {

constexpr char kVisibleDevices[] = "NVIDIA_VISIBLE_DEVICES";
constexpr char kDeviceListFolder[] = "/var/run/nvidia-container-devices";
constexpr char kNothing[] = "/dev/null";  // on the host: the entry's name is all that counts
constexpr char kSharedMemory[] = "/dev/shm";
constexpr char kEnabled[] = "enabled";

Edits node(std::string_view dev_root, std::string path) {
  std::string host_path = below(dev_root, path);
  return device_node(std::move(host_path), std::move(path));
}

}  // namespace

Edits visible_devices(std::string joined_ids) {
  return env(kVisibleDevices, std::move(joined_ids));
}

Edits visible_devices_as_mounts() { return env(kVisibleDevices, kDeviceListFolder); }

Edits visible_device_mount(std::string_view id) {
  return mount(kNothing, below(kDeviceListFolder, id));
}

Edits imex_channels(std::string joined_channels) {
  return env("NVIDIA_IMEX_CHANNELS", std::move(joined_channels));
}

Edits imex_channel_mount(int channel) {
  return mount(kNothing, below(kDeviceListFolder, "imex/" + std::to_string(channel)));
}

Edits gdrcopy() { return env("NVIDIA_GDRCOPY", kEnabled); }
Edits gds() { return env("NVIDIA_GDS", kEnabled); }
Edits mofed() { return env("NVIDIA_MOFED", kEnabled); }

Edits mps_client(std::string_view mps_root, std::string_view resource) {
  const std::string pipe = "/" + std::string(resource) + "/pipe";
  const std::string inside = "/mps" + pipe;
  return env("CUDA_MPS_PIPE_DIRECTORY", inside) + mount(below(mps_root, pipe), inside) +
         mount(below(mps_root, "/shm"), kSharedMemory);
}

Edits control_node(std::string_view dev_root, std::string_view name) {
  return node(dev_root, "/dev/" + std::string(name));
}

Edits gpu_node(std::string_view dev_root, unsigned minor) {
  return node(dev_root, "/dev/nvidia" + std::to_string(minor));
}

Edits capability_node(std::string_view dev_root, unsigned minor) {
  return node(dev_root, "/dev/nvidia-caps/nvidia-cap" + std::to_string(minor));
}

Edits imex_channel_node(std::string_view dev_root, int channel) {
  return node(dev_root, "/dev/nvidia-caps-imex-channels/channel" + std::to_string(channel));
}

}  // namespace kerf::edits
