// Who holds which GPU, and who a process is: plain values. Knows nothing of gRPC, cgroups or the
// API server; the other files of the room fill them.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kerf::pods {

// A container of a pod. The names are Kubernetes' own; a pod that is made anew under the same name
// is the same owner with another uid.
struct Owner {
  std::string name_space;
  std::string pod;
  std::string container;  // empty: one of the pod's containers, not known which
  auto operator<=>(const Owner&) const = default;
};

// What only the API server knows of a pod.
struct PodFacts {
  std::string name_space;
  std::string pod;
  std::string uid;  // "1c8d…", 8-4-4-4-12; of a static pod its hash
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  // By container id without "containerd://": the container's name.
  std::map<std::string, std::string, std::less<>> containers;
  bool operator==(const PodFacts&) const = default;
};

// A device that a claim gave to a container (dynamic resource allocation).
struct ClaimDevice {
  std::string claim;
  std::string claim_name_space;
  std::string driver;  // "gpu.nvidia.com"
  std::string pool;
  std::string device;
  std::string share;  // of a shared device, else empty
  bool operator==(const ClaimDevice&) const = default;
};

// One container as the kubelet's PodResources tells of it. Containers without devices are left out.
struct Container {
  Owner owner;
  struct Devices {
    std::string resource;          // "nvidia.com/gpu", as it was registered
    std::vector<std::string> ids;  // as the plugin listed them
    bool operator==(const Devices&) const = default;
  };
  std::vector<Devices> devices;
  std::vector<ClaimDevice> claims;
  bool operator==(const Container&) const = default;
};

// One share of one device in the hands of one container.
struct PodDevice {
  Owner owner;
  std::shared_ptr<const PodFacts> facts;  // null while nobody has told
  std::string resource;                   // "nvidia.com/gpu.shared"
  std::string id;                         // as the kubelet knows it: "GPU-…::3"
  std::string uuid;                       // what it is a share of: "GPU-…" or "MIG-…"
  std::string gpu_uuid;                   // its physical GPU: the same unless MIG
  unsigned gpu = 0;                       // position in Snapshot::gpus
  std::optional<unsigned> gpu_instance;   // NVML's ids, of a MIG device
  std::optional<unsigned> compute_instance;
  std::optional<unsigned> replica;  // n of "::n"
};

// How good the knowledge is.
enum class State {
  kUnknown,  // not asked yet
  kCurrent,  // the kubelet has answered, and did so the last time it was asked
  kStale,    // it has answered, but not the last time; what it said then is kept
  kAbsent,   // it has never answered: no socket, no permission, nobody there
};
// "unknown", "current", "stale", "absent"
std::string to_string(State state);

// What the kubelet and the API server have told, at one moment. Immutable once built; shared.
struct Pods {
  State state = State::kUnknown;
  std::string detail;         // why not kCurrent, for people
  std::int64_t asked_ms = 0;  // wall clock; when the answer below was asked for
  std::vector<Container> containers;
  // By uid. Empty without access to the API server.
  std::map<std::string, std::shared_ptr<const PodFacts>, std::less<>> facts;
};

using PodsPtr = std::shared_ptr<const Pods>;

}  // namespace kerf::pods
