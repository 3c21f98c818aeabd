// A CDI specification as a value: what a container runtime adds to a container that asks for one of
// its devices. Only the parts of the format that GPUs need. Source: Container Device Interface
// specification 0.3.0 to 1.0.0; runtime contract §2.1.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace kerf::cdi {

// The vendor half of every kind that this plugin writes; the other half is Spec::device_class.
inline constexpr char kVendor[] = "k8s.device-plugin.nvidia.com";

struct DeviceNode {
  std::string path;       // in the container
  std::string host_path;  // empty when equal to `path`
  // Of the node on the host; absent when what lies there is not a character device, and then the
  // runtime looks for itself.
  std::optional<unsigned> major;
  std::optional<unsigned> minor;
  std::optional<unsigned> file_mode;  // permission bits
  std::optional<unsigned> gid;        // owning group unless that is root
  std::string permissions = "rwm";
  bool operator==(const DeviceNode&) const = default;
};

struct Mount {
  std::string host_path;
  std::string container_path;
  std::vector<std::string> options;
  std::string type;  // left out when empty
  bool operator==(const Mount&) const = default;
};

struct Hook {
  std::string name = "createContainer";
  std::string path;  // of the program, on the host
  std::vector<std::string> args;
  std::vector<std::string> env;
  bool operator==(const Hook&) const = default;
};

struct ContainerEdits {
  std::vector<std::string> env;  // "NAME=value"
  std::vector<DeviceNode> nodes;
  std::vector<Mount> mounts;
  std::vector<Hook> hooks;
  std::vector<unsigned> additional_gids;
  bool operator==(const ContainerEdits&) const = default;
};

struct Device {
  std::string name;
  std::map<std::string, std::string> annotations;
  ContainerEdits edits;
  bool operator==(const Device&) const = default;
};

struct Spec {
  std::string device_class;  // "gpu", "imex-channel", "gdrcopy", "gds", "mofed"
  std::vector<Device> devices;
  ContainerEdits common;  // added once for any number of devices of this specification
  std::map<std::string, std::string> annotations;
  bool operator==(const Spec&) const = default;
};

// Every class that this plugin may write, in the order in which containers name them.
inline constexpr const char* kClasses[] = {"gpu", "imex-channel", "gdrcopy", "gds", "mofed"};

}  // namespace kerf::cdi
