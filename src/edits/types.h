// Container edits: what is changed in a container so that it sees its GPUs. A small algebra of
// values shared by the device plugin, the CDI writer and the command line. No I/O.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace kerf::edits {

struct Mount {
  std::string host_path;
  std::string container_path;
  bool read_only = false;
  bool operator==(const Mount&) const = default;
};

struct DeviceNode {
  std::string host_path;
  std::string container_path;
  std::string permissions = "rw";  // letters of "rwm"
  bool operator==(const DeviceNode&) const = default;
};

struct Edits {
  std::map<std::string, std::string> envs;
  std::vector<Mount> mounts;
  std::vector<DeviceNode> devices;
  std::map<std::string, std::string> annotations;
  std::vector<std::string> cdi_devices;  // fully qualified names
  bool operator==(const Edits&) const = default;
};

}  // namespace kerf::edits
