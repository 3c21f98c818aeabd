// What a machine has of the NVIDIA driver that containers need: libraries, programs, firmware,
// configuration, sockets, device nodes. Read from the disk once, into a value. Runtime contract
// §2.2.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/roots.h"
#include "config/types.h"
#include "inventory/types.h"

namespace kerf::cdi {

// Where to look, as paths of this process.
struct Where {
  std::string driver_root;  // the host's driver root, mounted here
  std::string dev;          // the host's device tree, mounted here
  Roots roots;              // sys (DRM, firmware path) and proc (kernel release)
};

// The driver root as configured; its dev folder where it has one, else `roots.dev`.
Where where(const Roots& roots, const config::Config& config);

// A file below the driver root.
struct DriverFile {
  std::string path;    // where programs look for it, and where it comes in the container
  std::string target;  // where it lies below the driver root, when `path` leads through links
  bool operator==(const DriverFile&) const = default;
};

// A symbolic link that the container needs: `target` as written into it.
struct DriverLink {
  std::string target;
  std::string path;
  bool operator==(const DriverLink&) const = default;
};

// Numbers of a character device; absent when a plain file lies in its place.
struct NodeFacts {
  std::optional<unsigned> major;
  std::optional<unsigned> minor;
  std::optional<unsigned> mode;  // permission bits
  std::optional<unsigned> gid;
  bool operator==(const NodeFacts&) const = default;
};

struct DriverTree {
  std::string version;      // of the libraries; empty when none were found
  std::string library_dir;  // "/usr/lib/x86_64-linux-gnu"; empty when none were found
  std::vector<DriverFile> libraries;
  std::vector<std::string> library_dirs;  // that hold `libraries`, sorted
  std::vector<DriverLink> links;
  std::vector<DriverFile> programs;
  std::vector<DriverFile> firmware;
  std::vector<DriverFile> configs;
  std::vector<DriverFile> sockets;
  std::vector<DriverFile> gds_mounts;      // /run/udev and /etc/cufile.json, those that exist
  std::map<std::string, NodeFacts> nodes;  // by path in the container: "/dev/nvidia0"
  // By PCI bus id: names of the GPU's DRM nodes ("card0", "renderD128"), and those links under
  // /dev/dri/by-path that exist, with what they say.
  std::map<std::string, std::vector<std::string>> drm;
  std::map<std::string, std::vector<DriverLink>> drm_links;
  std::string ldconfig = "/sbin/ldconfig";  // on the host
  std::string hook_program;  // on the host: the first of the candidates that is there, else empty

  bool operator==(const DriverTree&) const = default;
};

// What a configuration's switches change in what is looked for.
struct DiscoverOptions {
  std::string driver_version;       // of the running driver; its libraries are preferred
  bool explicit_libraries = false;  // also those that every driver brings along under other names
  std::vector<std::string> hook_programs;  // candidates, best first
};

// Never fails: what cannot be read is not there. Costs a few directory listings.
DriverTree discover(const Where& where, const inventory::Snapshot& snapshot,
                    const DiscoverOptions& options);

}  // namespace kerf::cdi
