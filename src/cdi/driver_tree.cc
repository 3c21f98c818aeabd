// Finding the driver's device nodes, firmware, programs and configuration below a root. Libraries:
// driver_libraries.cc.
#include "cdi/driver_tree.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "cdi/driver_libraries.h"
#include "cdi/rooted.h"

namespace kerf::cdi {
namespace {

constexpr const char* kProgramDirs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                        "/usr/bin",        "/sbin",          "/bin"};
constexpr const char* kPrograms[] = {
    "nvidia-smi",  "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control",
    "nvidia-imex", "nvidia-imex-ctl",  "nvidia-xconfig",      "nvidia-cuda-mps-server"};

// Each line: the first of its paths that exists is taken.
const std::vector<std::vector<std::string>>& config_files() {
  static const std::vector<std::vector<std::string>> kFiles = [] {
    std::vector<std::vector<std::string>> files;
    auto in = [&](const std::vector<std::string>& dirs, const std::string& name) {
      std::vector<std::string> paths;
      paths.reserve(dirs.size());
      for (const std::string& dir : dirs) paths.push_back(join_path(dir, name));
      files.push_back(std::move(paths));
    };
    in({"/etc/glvnd/egl_vendor.d", "/usr/share/glvnd/egl_vendor.d"}, "10_nvidia.json");
    for (const char* name : {"15_nvidia_gbm", "10_nvidia_wayland", "09_nvidia_wayland2",
                             "20_nvidia_xcb", "20_nvidia_xlib"}) {
      in({"/etc/egl/egl_external_platform.d", "/usr/share/egl/egl_external_platform.d"},
         std::string(name) + ".json");
    }
    in({"/usr/share/nvidia"}, "nvoptix.bin");
    for (const char* name : {"10-nvidia.conf", "nvidia-drm-outputclass.conf"}) {
      in({"/etc/X11/xorg.conf.d", "/usr/share/X11/xorg.conf.d"}, name);
    }
    in({"/etc/OpenCL/vendors"}, "nvidia.icd");
    for (const char* name :
         {"nvidia_icd.json", "nvidia_icd.x86_64.json", "nvidia_icd.aarch64.json"})
      in({"/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d"}, name);
    in({"/etc/vulkan/implicit_layer.d", "/usr/share/vulkan/implicit_layer.d"},
       "nvidia_layers.json");
    return files;
  }();
  return kFiles;
}

const std::vector<std::vector<std::string>> kSockets = {
    {"/run/nvidia-persistenced/socket", "/var/run/nvidia-persistenced/socket"},
    {"/run/nvidia-fabricmanager/socket", "/var/run/nvidia-fabricmanager/socket"},
    {"/tmp/nvidia-mps"}};
const std::vector<std::vector<std::string>> kGdsMounts = {{"/run/udev"}, {"/etc/cufile.json"}};

void take_first(const Rooted& root, const std::vector<std::string>& paths,
                std::vector<DriverFile>& into) {
  for (const std::string& path : paths) {
    if (auto target = root.resolve(path)) {
      into.push_back({path, *target});
      return;
    }
  }
}

std::vector<DriverFile> first_of_each(const Rooted& root,
                                      const std::vector<std::vector<std::string>>& lines) {
  std::vector<DriverFile> found;
  for (const auto& paths : lines) take_first(root, paths, found);
  return found;
}

std::vector<DriverFile> programs(const Rooted& root) {
  std::vector<DriverFile> found;
  for (const char* name : kPrograms) {
    std::vector<std::string> paths;
    for (const char* dir : kProgramDirs) paths.push_back(join_path(dir, name));
    take_first(root, paths, found);
  }
  return found;
}

std::vector<DriverFile> firmware(const Rooted& root, const Roots& roots,
                                 const std::string& version) {
  std::vector<std::string> dirs;
  auto add = [&](const Result<std::string>& text, const std::string& before, bool bare) {
    std::string value = text ? std::string(trim(*text)) : "";
    if (!value.empty()) dirs.push_back(before + value);
    if (bare) dirs.push_back(before.substr(0, before.size() - 1));
  };
  add(read_file(join_path(roots.sys, "module/firmware_class/parameters/path")), "", false);
  const auto release = read_file(join_path(roots.proc, "sys/kernel/osrelease"));
  add(release, "/lib/firmware/updates/", true);
  add(release, "/lib/firmware/", true);
  std::vector<DriverFile> found;
  for (const std::string& dir : dirs) {
    const std::string folder = join_path(join_path(dir, "nvidia"), version);
    for (const std::string& name : root.names(folder)) {
      if (!name.starts_with("gsp") || !name.ends_with(".bin")) continue;
      std::string path = join_path(folder, name);
      if (auto target = root.resolve(path)) found.push_back({std::move(path), *target});
    }
    if (!found.empty()) break;
  }
  return found;
}

NodeFacts facts_of(const std::string& path) {
  struct stat about{};
  if (stat(path.c_str(), &about) != 0 || !S_ISCHR(about.st_mode)) return {};
  NodeFacts facts{major(about.st_rdev), minor(about.st_rdev), about.st_mode & 07777u, {}};
  if (about.st_gid != 0) facts.gid = about.st_gid;
  return facts;
}

std::map<std::string, NodeFacts> device_nodes(const std::string& dev) {
  const Rooted root(dev);
  std::map<std::string, NodeFacts> nodes;
  auto list = [&](const std::string& folder, auto&& wanted) {
    for (const std::string& name : root.names("/" + folder)) {
      const std::string path = folder + name;
      std::error_code error;
      if (wanted(name) && !std::filesystem::is_directory(root.here(path), error)) {
        nodes["/dev/" + path] = facts_of(root.here(path));
      }
    }
  };
  auto any = [](const std::string&) { return true; };
  list("", [](const std::string& name) { return name.starts_with("nvidia") || name == "gdrdrv"; });
  list("nvidia-caps/", any);
  list("nvidia-caps-imex-channels/", any);
  list("dri/", [](const std::string& name) {
    return name.starts_with("card") || name.starts_with("renderD");
  });
  list("infiniband/",
       [](const std::string& name) { return name.starts_with("uverbs") || name == "rdma_cm"; });
  return nodes;
}

void find_drm(const Where& where, const inventory::Snapshot& snapshot, DriverTree& tree) {
  const Rooted dev(where.dev);
  for (const inventory::Gpu& gpu : snapshot.gpus) {
    const std::string& bus = gpu.pci_bus_id;
    if (bus.empty()) continue;
    const Rooted sys(join_path(where.roots.sys, "bus/pci/devices/" + bus + "/drm"));
    for (const std::string& name : sys.names("/")) {
      if (tree.nodes.contains("/dev/dri/" + name)) tree.drm[bus].push_back(name);
    }
    for (const char* kind : {"card", "render"}) {
      const std::string link = "dri/by-path/pci-" + bus + "-" + kind;
      if (auto target = dev.read_link(link)) {
        tree.drm_links[bus].push_back({*target, "/dev/" + link});
      }
    }
  }
}

}  // namespace

Where where(const Roots& roots, const config::Config& config) {
  const std::string dev = join_path(config.container_driver_root, "dev");
  std::error_code error;
  return {config.container_driver_root, std::filesystem::is_directory(dev, error) ? dev : roots.dev,
          roots};
}

DriverTree discover(const Where& where, const inventory::Snapshot& snapshot,
                    const DiscoverOptions& options) {
  const Rooted root(where.driver_root);
  DriverTree tree;
  find_libraries(root, options, tree);
  tree.programs = programs(root);
  if (!tree.version.empty()) tree.firmware = firmware(root, where.roots, tree.version);
  tree.configs = first_of_each(root, config_files());
  tree.sockets = first_of_each(root, kSockets);
  tree.gds_mounts = first_of_each(root, kGdsMounts);
  tree.nodes = device_nodes(where.dev);
  find_drm(where, snapshot, tree);
  // Debian's and Ubuntu's ldconfig is a script around this one.
  if (root.resolve("/sbin/ldconfig.real")) tree.ldconfig = "/sbin/ldconfig.real";
  for (const std::string& program : options.hook_programs) {
    if (tree.hook_program.empty() && root.resolve(program)) tree.hook_program = program;
  }
  return tree;
}

}  // namespace kerf::cdi
