// From what exists and what is configured to what is advertised. Pure: the same arguments give the
// same plan, on any thread; nothing is read from the machine.
//
// Naming (device-plugin contract §3). The first matching pattern of `gpu_rules` or `mig_rules`
// names a device; without a match the MIG strategy does:
//   none    every GPU is nvidia.com/gpu, in MIG mode or not
//   single  a GPU in MIG mode is replaced by its MIG devices, all of them nvidia.com/gpu
//   mixed   a GPU in MIG mode is replaced by its MIG devices, nvidia.com/mig-<profile>
// GPUs that drive the display of a DGX Station are left out.
//
// Sharing (§1.4). An entry turns each device it selects into `replicas` ids "<uuid>::<n>" under
// `rename`, or under its own name when `rename` is absent. Devices that no entry selects stay
// exclusive under their own name. So with `devices` narrowed and no `rename`, one resource holds
// both: plain ids for whole devices and "<uuid>::<n>" for slices; the kubelet counts either as one,
// and a pod cannot tell which it will get. Give the entry a `rename` where that matters. Several
// entries may name one resource; a device follows the first that selects it.
//
// Odd hardware never empties the node. What NVIDIA's plugin refuses to start over becomes a warning
// and, where a device must not be used, an unhealthy device that says why:
//   single, some GPUs in MIG mode      the whole GPUs are unhealthy
//   single, several MIG profiles       all but the most numerous profile are unhealthy
//   GPU in MIG mode without devices    nothing to advertise for it
//   mixed, profile without a name      left out (1c.3g.20gb, say: compute slices ≠ GPU slices)
//   no UUID, or a UUID seen twice      left out
//   capability node unknown            unhealthy, where device nodes are passed
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "config/types.h"
#include "inventory/types.h"
#include "plan/types.h"

namespace kerf::plan {

// Longest device id that the kubelet's interface documents, in bytes.
inline constexpr std::size_t kMaxIdLength = 63;

// The kubelet receives a resource's whole list in one gRPC message of at most 4 MiB.
inline constexpr std::size_t kMaxListBytes = 4 * 1024 * 1024;

// What to advertise. A null snapshot counts as an empty one. `generation` is stored as given.
// Errors, all of them about the configuration, with the field in `subject`:
//   kConflict     two sources of devices would share one resource name through `rename`
//   kInvalid      so many replicas that their list exceeds kMaxListBytes
//   kInvalid      more replicas than MPS serves on such a GPU, or a limit beyond its memory
//   kConflict     different thread percentages for one resource that is shared by MPS
//   kUnsupported  MIG devices shared by MPS
Result<Plan> make_plan(inventory::SnapshotPtr snapshot, const config::Config& config,
                       std::uint64_t generation);

// The resource of that name, or null. The pointer lives as long as `plan`.
const Resource* find_resource(const Plan& plan, std::string_view name);

// How the resource's devices are shared, for the log: "time-slicing", "mps" or "none".
std::string_view sharing_of(const Resource& resource);
// How many ids the GPU or MIG device with most of them has; 1 when nothing is shared, 0 when there
// are no devices.
std::size_t replicas_of(const Resource& resource);

// Marks the shared devices of a resource as not to be given out, for this reason. Devices that are
// unhealthy already keep theirs.
void hold_back(Resource& resource, const std::string& reason);

}  // namespace kerf::plan
