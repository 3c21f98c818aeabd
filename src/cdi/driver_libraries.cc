// Finding the driver's libraries, and the links by which programs find them.
#include "cdi/driver_libraries.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::cdi {
namespace {

// In this order; the last is for a root that is a folder of libraries and nothing else.
constexpr const char* kLibraryDirs[] = {"/usr/lib64",
                                        "/usr/lib/x86_64-linux-gnu",
                                        "/usr/lib/x86_64-linux-gnu/nvidia/current",
                                        "/usr/lib/aarch64-linux-gnu",
                                        "/usr/lib/aarch64-linux-gnu/nvidia/current",
                                        "/lib64",
                                        "/lib/x86_64-linux-gnu",
                                        "/lib/x86_64-linux-gnu/nvidia/current",
                                        "/lib/aarch64-linux-gnu",
                                        "/lib/aarch64-linux-gnu/nvidia/current",
                                        "/"};

// Libraries with a version of their own, beside those with the driver's.
constexpr const char* kOthers[] = {"libnvidia-nvvm70.so.*",        "libnvidia-egl-gbm.so.*.*",
                                   "libnvidia-egl-wayland.so.*.*", "libnvidia-egl-xcb.so.*.*",
                                   "libnvidia-egl-xlib.so.*.*",    "libnvidia-egl-wayland2.so.*.*",
                                   "libnvidia-vulkan-producer.so"};
// Part of glvnd and the OpenCL loader rather than of the driver; many images bring their own.
constexpr const char* kExplicit[] = {"libEGL.so.*.*",    "libGL.so.*.*",     "libGLESv1_CM.so.*.*",
                                     "libGLESv2.so.*.*", "libGLX.so.*.*",    "libGLdispatch.so.*.*",
                                     "libOpenCL.so.*.*", "libOpenGL.so.*.*", "libnvidia-api.so.*"};
// Below a library folder or beside it.
constexpr const char* kXorgDirs[] = {"nvidia/xorg", "xorg/modules/drivers",
                                     "xorg/modules/extensions"};

// "580.126.09", not "1": at least two numbers.
bool is_version(std::string_view text) {
  std::vector<std::string> parts = split(text, '.');
  return parts.size() >= 2 && std::ranges::all_of(parts, [](const std::string& part) {
           return parse_u64(part).has_value();
         });
}

// The version in the name of the file that `stem` ("libcuda.so.") begins, `preferred` if there.
std::string version_of(const std::vector<std::string>& names, std::string_view stem,
                       const std::string& preferred) {
  std::string found;
  for (const std::string& name : names) {
    if (!name.starts_with(stem)) continue;
    std::string version = name.substr(stem.size());
    if (version == preferred) return version;
    if (is_version(version)) found = std::move(version);
  }
  return found;
}

class Libraries {
 public:
  Libraries(const Rooted& root, DriverTree& tree) : root_(root), tree_(tree) {}

  void take(const std::string& dir, const std::string& name) {
    const std::string path = join_path(dir, name);
    // A link with a full version in its name is the library itself for whoever looks for it.
    if (auto target = root_.resolve(path); target && seen_.insert(path).second) {
      tree_.libraries.push_back({path, *target});
      dirs_.insert(dir);
    }
  }

  template <std::size_t n>
  void take_matching(const std::string& dir, const std::vector<std::string>& names,
                     const char* const (&patterns)[n]) {
    for (const std::string& name : names) {
      if (root_.read_link(join_path(dir, name))) continue;  // "libEGL.so.1": made anew below
      for (const char* pattern : patterns) {
        if (matches_glob(pattern, name)) take(dir, name);
      }
    }
  }

  void link(std::string target, std::string path) {
    tree_.links.push_back({std::move(target), std::move(path)});
  }

  bool has(const std::string& path) const { return seen_.contains(path); }
  const std::set<std::string>& dirs() const { return dirs_; }

 private:
  const Rooted& root_;
  DriverTree& tree_;
  std::set<std::string> seen_;
  std::set<std::string> dirs_;
};

// SONAME and bare links of the host ("libcuda.so.1", "libcuda.so") that lead to what was taken.
void link_as_the_host_does(const Rooted& root, const std::string& dir,
                           const std::vector<std::string>& names, Libraries& libraries) {
  for (const std::string& name : names) {
    const std::string path = join_path(dir, name);
    auto target = root.read_link(path);
    if (!target || libraries.has(path)) continue;
    auto end = root.resolve(path);
    if (!end) continue;
    const std::string file = end->substr(end->rfind('/') + 1);
    if (!libraries.has(join_path(dir, file))) continue;
    // Links by way of /etc/alternatives would lead nowhere in the container.
    const bool beside = target->find('/') == std::string::npos;
    libraries.link(beside ? *target : file, path);
  }
}

bool linked(const DriverTree& tree, const std::string& path) {
  return std::ranges::any_of(tree.links, [&](const DriverLink& l) { return l.path == path; });
}

// Links that programs need whether or not the host has them.
void link_always(const std::string& dir, DriverTree& tree, Libraries& libraries) {
  const std::string& version = tree.version;
  struct Row {
    std::string library, target, path;
  };
  const Row rows[] = {
      {"libcuda.so." + version, "libcuda.so.1", "libcuda.so"},
      {"libGLX_nvidia.so." + version, "libGLX_nvidia.so." + version, "libGLX_indirect.so.0"},
      {"libnvidia-opticalflow.so." + version, "libnvidia-opticalflow.so.1",
       "libnvidia-opticalflow.so"},
      {"libnvidia-allocator.so." + version, "../libnvidia-allocator.so.1", "gbm/nvidia-drm_gbm.so"},
  };
  for (const Row& row : rows) {
    const std::string path = join_path(dir, row.path);
    if (libraries.has(join_path(dir, row.library)) && !linked(tree, path)) {
      libraries.link(row.target, path);
    }
  }
}

void take_xorg(const Rooted& root, const std::string& dir, Libraries& libraries,
               const std::string& version) {
  for (const char* below : kXorgDirs) {
    const std::string folder = join_path(dir, below);
    for (const std::string& name : root.names(folder)) {
      if (name == "nvidia_drv.so") libraries.take(folder, name);
      if (name != "libglxserver_nvidia.so." + version) continue;
      libraries.take(folder, name);
      libraries.link(name, join_path(folder, "libglxserver_nvidia.so"));
    }
  }
}

// The driver's library folder and version; false when there is none.
bool locate(const Rooted& root, const DiscoverOptions& options, DriverTree& tree) {
  for (const char* stem : {"libcuda.so.", "libnvidia-ml.so."}) {
    std::string found_dir, found_version;
    for (const char* dir : kLibraryDirs) {
      std::string version = version_of(root.names(dir), stem, options.driver_version);
      if (version.empty()) continue;
      if (found_version.empty() || version == options.driver_version) {
        found_dir = dir;
        found_version = std::move(version);
      }
      if (found_version == options.driver_version) break;
    }
    if (found_version.empty()) continue;
    tree.library_dir = found_dir;
    tree.version = found_version;
    return true;
  }
  return false;
}

}  // namespace

void find_libraries(const Rooted& root, const DiscoverOptions& options, DriverTree& tree) {
  if (!locate(root, options, tree)) return;
  const std::string dir = tree.library_dir;
  const std::string ending = ".so." + tree.version;
  const std::vector<std::string> names = root.names(dir);
  Libraries libraries(root, tree);
  for (const std::string& name : names) {
    if (name.ends_with(ending)) libraries.take(dir, name);
  }
  libraries.take_matching(dir, names, kOthers);
  if (options.explicit_libraries) libraries.take_matching(dir, names, kExplicit);
  const std::string vdpau = join_path(dir, "vdpau");
  const std::vector<std::string> vdpau_names = root.names(vdpau);
  for (const std::string& name : vdpau_names) {
    if (name.ends_with(ending)) libraries.take(vdpau, name);
  }
  link_as_the_host_does(root, dir, names, libraries);
  link_as_the_host_does(root, vdpau, vdpau_names, libraries);
  // Folders that the linker's cache must know; X servers find their modules by other means.
  tree.library_dirs.assign(libraries.dirs().begin(), libraries.dirs().end());
  take_xorg(root, dir, libraries, tree.version);
  link_always(dir, tree, libraries);
}

}  // namespace kerf::cdi
