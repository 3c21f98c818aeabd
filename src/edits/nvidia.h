// The container edits that NVIDIA's container runtime and driver understand: environment
// variables, the mounts that stand for devices, and device nodes. Names and paths are those of the
// NVIDIA container toolkit and driver (device-plugin contract §5.3, §5.4). No I/O. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "edits/types.h"

namespace kerf::edits {

// NVIDIA_VISIBLE_DEVICES=<ids joined with ','>. An empty list gives an empty value, which the
// runtime takes as "no GPU" even where the image asks for all.
Edits visible_devices(std::string joined_ids);
// NVIDIA_VISIBLE_DEVICES as the folder whose entries name the devices.
Edits visible_devices_as_mounts();
// The entry of that folder for one device, by UUID or index.
Edits visible_device_mount(std::string_view id);

// NVIDIA_IMEX_CHANNELS=<numbers joined with ','>, and the mount for one channel.
Edits imex_channels(std::string joined_channels);
Edits imex_channel_mount(int channel);

// NVIDIA_GDRCOPY, NVIDIA_GDS, NVIDIA_MOFED = enabled.
Edits gdrcopy();
Edits gds();
Edits mofed();

// What a client of MPS needs: the pipes of the daemon that serves `resource`, and the shared memory
// of all of them. `mps_root` is the folder on the host.
Edits mps_client(std::string_view mps_root, std::string_view resource);

// Device nodes, "rw". `dev_root` is the folder on the host under which /dev lies ("/" or a driver
// container's root); inside the container they are always in /dev.
Edits control_node(std::string_view dev_root, std::string_view name);  // "nvidiactl"
Edits gpu_node(std::string_view dev_root, unsigned minor);             // nvidia<minor>
Edits capability_node(std::string_view dev_root, unsigned minor);      // nvidia-caps/nvidia-cap<n>
Edits imex_channel_node(std::string_view dev_root, int channel);

}  // namespace kerf::edits
