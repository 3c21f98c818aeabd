// What Allocate must know of the machine beside its GPUs. Values; who fills them is the agent.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace kerf::allocate {

// What the CDI specifications on disk offer. Empty until they were written for the first time.
struct CdiFacts {
  // Qualified names that a container runtime resolves to what they mean now.
  std::set<std::string, std::less<>> devices;
  // By class ("gpu", "gds"): why its specification could not be written as it should be.
  std::map<std::string, std::string, std::less<>> trouble;

  bool operator==(const CdiFacts&) const = default;
};

// What the caller found on the machine. Only read for the device list strategies and flags that
// need it.
struct HostFacts {
  // Control nodes that exist in /dev, in the order in which containers get them.
  bool nvidiactl = false;
  bool uvm = false;
  bool uvm_tools = false;
  bool modeset = false;
  std::vector<int> imex_channels;  // those of imex.channelIDs that exist, in that order
  CdiFacts cdi;

  bool operator==(const HostFacts&) const = default;
};

}  // namespace kerf::allocate
