// Tests of what the room promises: the format's rules, what is found of a driver, what is composed
// of it, how it is written.
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "cdi/directory.h"
#include "cdi/driver_tree.h"
#include "cdi/hooks.h"
#include "cdi/render.h"
#include "cdi/rooted.h"
#include "cdi/spec.h"

#include <nlohmann/json.hpp>

namespace kerf::cdi {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// --- the format -----------------------------------------------------------------------------

Spec small() {
  Spec spec{.device_class = "gpu", .devices = {}, .common = {}, .annotations = {}};
  Device device{"GPU-a", {}, {}};
  device.edits.nodes.push_back({.path = "/dev/nvidia0",
                                .host_path = {},
                                .major = {},
                                .minor = {},
                                .file_mode = {},
                                .gid = {}});
  spec.devices.push_back(device);
  return spec;
}

struct VersionRow {
  const char* because;
  const char* version;
  void (*change)(Spec&);
};

TEST(Version, IsTheOldestThatKnowsWhatIsUsed) {
  for (const VersionRow& row : {
           VersionRow{"nothing special", "0.3.0", [](Spec&) {}},
           VersionRow{"a mount's type", "0.4.0",
                      [](Spec& s) { s.common.mounts.push_back({"/a", "/a", {}, "bind"}); }},
           VersionRow{"a mount without type", "0.3.0",
                      [](Spec& s) { s.common.mounts.push_back({"/a", "/a", {}, ""}); }},
           VersionRow{"another path on the host", "0.5.0",
                      [](Spec& s) { s.devices[0].edits.nodes[0].host_path = "/root/dev/x"; }},
           VersionRow{"a name that begins with a digit", "0.5.0",
                      [](Spec& s) { s.devices[0].name = "0"; }},
           VersionRow{"an annotated specification", "0.6.0",
                      [](Spec& s) { s.annotations["a"] = "b"; }},
           VersionRow{"an annotated device", "0.6.0",
                      [](Spec& s) { s.devices[0].annotations["a"] = "b"; }},
           VersionRow{"a dot in the class", "0.6.0",
                      [](Spec& s) { s.device_class = "gpu.shared"; }},
           VersionRow{"more groups", "0.7.0",
                      [](Spec& s) { s.devices[0].edits.additional_gids = {44}; }},
           VersionRow{"the newest of several", "0.7.0",
                      [](Spec& s) {
                        s.devices[0].name = "0";
                        s.common.additional_gids = {44};
                      }},
       }) {
    Spec spec = small();
    row.change(spec);
    EXPECT_EQ(minimum_version(spec), row.version) << row.because;
    EXPECT_EQ(json::parse(render(spec)).at("cdiVersion"), row.version) << row.because;
  }
}

TEST(Check, NamesWhatBreaksARule) {
  EXPECT_TRUE(check(small()));
  struct Row {
    const char* says;
    void (*change)(Spec&);
  };
  for (const Row& row : {
           Row{"invalid class", [](Spec& s) { s.device_class = "1gpu"; }},
           Row{"no devices", [](Spec& s) { s.devices.clear(); }},
           Row{"invalid device name", [](Spec& s) { s.devices[0].name = "MIG-GPU-a/3/0"; }},
           Row{"invalid device name", [](Spec& s) { s.devices[0].name = "a-"; }},
           Row{"two devices of one name", [](Spec& s) { s.devices.push_back(s.devices[0]); }},
           Row{"a device without edits", [](Spec& s) { s.devices[0].edits = {}; }},
           Row{"not of the form", [](Spec& s) { s.common.env = {"NAME"}; }},
           Row{"device path", [](Spec& s) { s.devices[0].edits.nodes[0].path = "dev/x"; }},
           Row{"permissions", [](Spec& s) { s.devices[0].edits.nodes[0].permissions = "rx"; }},
           Row{"mount path", [](Spec& s) { s.common.mounts = {{"/a", "b", {}, ""}}; }},
           Row{"not a hook", [](Spec& s) { s.common.hooks = {{"later", "/x", {}, {}}}; }},
       }) {
    Spec spec = small();
    row.change(spec);
    const Status status = check(spec);
    ASSERT_FALSE(status) << row.says;
    EXPECT_THAT(status.error().text(), HasSubstr(row.says));
  }
  for (const char* name : {"0", "0:1", "GPU-1a-2b", "all", "a_b.c"}) {
    EXPECT_TRUE(valid_device_name(name)) << name;
  }
  for (const char* name : {"", "-a", "a:", "a b", "a/b", "ä"}) {
    EXPECT_FALSE(valid_device_name(name)) << name;
  }
}

// The format as a schema: for each object its keys with their types, nothing else allowed.
void expect_keys(const json& object, const std::map<std::string, json::value_t>& allowed,
                 const std::vector<std::string>& required) {
  ASSERT_TRUE(object.is_object());
  for (const auto& [key, value] : object.items()) {
    ASSERT_TRUE(allowed.contains(key)) << key;
    EXPECT_EQ(value.type(), allowed.at(key)) << key;
    EXPECT_FALSE((value.is_array() || value.is_object()) && value.empty()) << "empty " << key;
  }
  for (const std::string& key : required) EXPECT_TRUE(object.contains(key)) << key;
}

void expect_edits(const json& edits) {
  using enum json::value_t;
  expect_keys(edits,
              {{"env", array},
               {"deviceNodes", array},
               {"hooks", array},
               {"mounts", array},
               {"additionalGids", array}},
              {});
  for (const json& node : edits.value("deviceNodes", json::array())) {
    expect_keys(node,
                {{"path", string},
                 {"hostPath", string},
                 {"major", number_unsigned},
                 {"minor", number_unsigned},
                 {"fileMode", number_unsigned},
                 {"permissions", string},
                 {"gid", number_unsigned}},
                {"path"});
  }
  for (const json& hook : edits.value("hooks", json::array())) {
    expect_keys(hook, {{"hookName", string}, {"path", string}, {"args", array}, {"env", array}},
                {"hookName", "path"});
  }
  for (const json& mount : edits.value("mounts", json::array())) {
    expect_keys(
        mount,
        {{"hostPath", string}, {"containerPath", string}, {"options", array}, {"type", string}},
        {"hostPath", "containerPath"});
  }
}

void expect_schema(const std::string& text) {
  const json spec = json::parse(text);
  using enum json::value_t;
  expect_keys(spec,
              {{"cdiVersion", string},
               {"kind", string},
               {"devices", array},
               {"containerEdits", object},
               {"annotations", object}},
              {"cdiVersion", "kind", "devices"});
  EXPECT_THAT(spec.at("kind").get<std::string>(), testing::StartsWith(std::string(kVendor) + "/"));
  for (const json& device : spec.at("devices")) {
    expect_keys(device, {{"name", string}, {"containerEdits", object}, {"annotations", object}},
                {"name", "containerEdits"});
    expect_edits(device.at("containerEdits"));
  }
  if (spec.contains("containerEdits")) expect_edits(spec.at("containerEdits"));
}

// --- a machine ------------------------------------------------------------------------------

constexpr char kLib[] = "/usr/lib/x86_64-linux-gnu/";

class Machine : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "cdi-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    config_.container_driver_root = root_;
    snapshot_.driver = {inventory::DriverState::kReady, "580.65.06", 13000, "", ""};
    for (unsigned i = 0; i < 2; ++i) {
      inventory::Gpu gpu;
      gpu.index = i;
      gpu.minor = 3 - i;
      gpu.uuid = "GPU-" + std::to_string(i);
      gpu.pci_bus_id = "0000:0" + std::to_string(i) + ":00.0";
      snapshot_.gpus.push_back(gpu);
    }
    for (const char* name : {"dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-uvm-tools",
                             "dev/nvidia-modeset", "dev/nvidia3", "dev/nvidia2"}) {
      file(name);
    }
    file(std::string(kLib) + "libcuda.so.580.65.06");
    link("libcuda.so.580.65.06", std::string(kLib) + "libcuda.so.1");
    file(std::string(kLib) + "libnvidia-ml.so.580.65.06");
  }
  void TearDown() override { fs::remove_all(root_); }

  void file(const std::string& path, const std::string& text = "x") const {
    const std::string full = join_path(root_, path);
    fs::create_directories(fs::path(full).parent_path());
    std::ofstream(full) << text;
  }
  void link(const std::string& target, const std::string& path) const {
    const std::string full = join_path(root_, path);
    fs::create_directories(fs::path(full).parent_path());
    fs::create_symlink(target, full);
  }
  DriverTree tree() const {
    DiscoverOptions options{snapshot_.driver.version,
                            has_feature(config_, "enable-explicit-driver-libraries"),
                            hook_programs(config_)};
    return discover(where(Roots::below(root_), config_), snapshot_, options);
  }
  Specs specs(const std::vector<int>& channels = {}) const {
    Specs specs = make_specs(snapshot_, config_, tree(), channels);
    for (const Spec& spec : specs.specs) {
      EXPECT_TRUE(check(spec));
      expect_schema(render(spec));
    }
    return specs;
  }
  Spec gpu() const {
    Specs all = specs();
    EXPECT_FALSE(all.gpu_trouble) << all.gpu_trouble->text();
    return all.specs.empty() ? Spec{} : all.specs.front();
  }

  std::string root_;
  config::Config config_;
  inventory::Snapshot snapshot_;
};

std::vector<std::string> names(const Spec& spec) {
  std::vector<std::string> names;
  for (const Device& device : spec.devices) names.push_back(device.name);
  return names;
}

std::vector<std::string> nodes(const ContainerEdits& edits) {
  std::vector<std::string> paths;
  for (const DeviceNode& node : edits.nodes) paths.push_back(node.path);
  return paths;
}

std::vector<std::string> mounts(const ContainerEdits& edits) {
  std::vector<std::string> paths;
  for (const Mount& mount : edits.mounts) paths.push_back(mount.container_path);
  return paths;
}

TEST_F(Machine, EveryGpuIsADeviceWithItsNodeAndTheRestIsCommon) {
  const Spec spec = gpu();
  EXPECT_THAT(names(spec), ElementsAre("GPU-0", "GPU-1"));
  EXPECT_THAT(nodes(spec.devices[0].edits), ElementsAre("/dev/nvidia3"));
  EXPECT_THAT(nodes(spec.devices[1].edits), ElementsAre("/dev/nvidia2"));
  EXPECT_THAT(nodes(spec.common), ElementsAre("/dev/nvidia-modeset", "/dev/nvidia-uvm",
                                              "/dev/nvidia-uvm-tools", "/dev/nvidiactl"));
  EXPECT_THAT(spec.common.env, ElementsAre("NVIDIA_VISIBLE_DEVICES=void",
                                           "NVIDIA_CTK_LIBCUDA_DIR=/usr/lib/x86_64-linux-gnu"));
  EXPECT_EQ(spec.common.mounts[0], (Mount{std::string(kLib) + "libcuda.so.580.65.06",
                                          std::string(kLib) + "libcuda.so.580.65.06",
                                          {"ro", "nosuid", "nodev", "rbind", "rprivate"},
                                          ""}));
  EXPECT_EQ(minimum_version(spec), "0.3.0");
}

TEST_F(Machine, IndicesNameDevicesWhereConfigured) {
  config_.device_id_strategy = config::DeviceIdStrategy::kIndex;
  inventory::Gpu& split = snapshot_.gpus[1];
  split.mig_enabled = true;
  split.mig_devices.resize(1);
  split.mig_devices[0].uuid = "MIG-a";
  split.mig_devices[0].index = 4;
  split.mig_devices[0].gpu_instance_minor = 12;
  split.mig_devices[0].compute_instance_minor = 13;
  EXPECT_THAT(names(gpu()), ElementsAre("0", "1:4"));
  EXPECT_EQ(minimum_version(gpu()), "0.5.0");
}

TEST_F(Machine, AGpuInMigModeIsItsMigDevices) {
  inventory::Gpu& split = snapshot_.gpus[0];
  split.mig_enabled = true;
  split.mig_devices.resize(3);
  for (unsigned i = 0; i < 3; ++i) {
    split.mig_devices[i].uuid = "MIG-" + std::to_string(i);
    split.mig_devices[i].profile = i == 1 ? "1g.12gb+gfx" : "1g.12gb";
    split.mig_devices[i].gpu_instance_minor = 10 + 2 * i;
    split.mig_devices[i].compute_instance_minor = 11 + 2 * i;
  }
  split.mig_devices[2].compute_instance_minor.reset();
  file("dev/dri/card1");
  file("sys/bus/pci/devices/0000:00:00.0/drm/card1/dev");
  const Specs all = specs();
  const Spec& spec = all.specs.at(0);
  EXPECT_THAT(names(spec), ElementsAre("GPU-1", "MIG-0", "MIG-1"));
  EXPECT_THAT(nodes(spec.devices[1].edits),
              ElementsAre("/dev/nvidia3", "/dev/nvidia-caps/nvidia-cap10",
                          "/dev/nvidia-caps/nvidia-cap11"));
  EXPECT_THAT(nodes(spec.devices[2].edits), Contains("/dev/dri/card1"));
  EXPECT_THAT(all.notes, ElementsAre(HasSubstr("MIG-2")));
}

TEST_F(Machine, AGpuThatFellOffTheBusIsLeftOutAndASickOneIsNot) {
  snapshot_.gpus[0].unhealthy = inventory::Unhealthy{"gpu_lost", "", 0};
  snapshot_.gpus[1].unhealthy = inventory::Unhealthy{"xid", "", 0};
  EXPECT_THAT(names(gpu()), ElementsAre("GPU-1"));
}

TEST_F(Machine, PathsOnTheHostAreBelowTheConfiguredRoots) {
  config_.driver_root = "/run/nvidia/driver";
  config_.dev_root = "/run/nvidia/driver";
  Spec spec = gpu();
  EXPECT_EQ(spec.common.mounts[0].host_path,
            "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06");
  EXPECT_EQ(spec.devices[0].edits.nodes[0].host_path, "/run/nvidia/driver/dev/nvidia3");
  EXPECT_EQ(minimum_version(spec), "0.5.0");
  config_.dev_root = "/";
  spec = gpu();
  EXPECT_EQ(spec.devices[0].edits.nodes[0].host_path, "") << "equal to the path in the container";
  EXPECT_EQ(minimum_version(spec), "0.3.0");
}

TEST_F(Machine, LibrariesAreThoseOfTheRunningDriverAndTheirCompanions) {
  for (const char* name :
       {"libcuda.so.570.1.2", "libnvidia-nvvm70.so.4", "libEGL.so.1.1.0",
        "libnvidia-egl-gbm.so.1.1.2", "libc.so.6", "vdpau/libvdpau_nvidia.so.580.65.06",
        "nvidia/xorg/nvidia_drv.so", "libnvidia-allocator.so.580.65.06",
        "nvidia/xorg/libglxserver_nvidia.so.580.65.06"}) {
    file(std::string(kLib) + name);
  }
  const std::string lib = kLib;
  Spec spec = gpu();
  for (const char* name :
       {"libcuda.so.580.65.06", "libnvidia-ml.so.580.65.06", "libnvidia-nvvm70.so.4",
        "libnvidia-egl-gbm.so.1.1.2", "vdpau/libvdpau_nvidia.so.580.65.06",
        "nvidia/xorg/nvidia_drv.so", "nvidia/xorg/libglxserver_nvidia.so.580.65.06"}) {
    EXPECT_THAT(mounts(spec.common), Contains(lib + name));
  }
  for (const char* name : {"libcuda.so.570.1.2", "libEGL.so.1.1.0", "libc.so.6", "libcuda.so.1"}) {
    EXPECT_THAT(mounts(spec.common), Not(Contains(lib + name)));
  }
  config_.cdi_feature_flags = {"enable-explicit-driver-libraries"};
  EXPECT_THAT(mounts(gpu().common), Contains(lib + "libEGL.so.1.1.0"));
}

TEST_F(Machine, ProgramsFirmwareConfigurationAndSocketsComeAlong) {
  for (const char* path :
       {"usr/bin/nvidia-smi", "usr/bin/bash", "lib/firmware/nvidia/580.65.06/gsp_ga10x.bin",
        "lib/firmware/nvidia/580.65.06/README", "lib/firmware/nvidia/570.1.2/gsp_ga10x.bin",
        "etc/OpenCL/vendors/nvidia.icd", "usr/share/nvidia/nvoptix.bin",
        "run/nvidia-persistenced/socket"}) {
    file(path);
  }
  Spec spec = gpu();
  for (const char* path : {"/usr/bin/nvidia-smi", "/lib/firmware/nvidia/580.65.06/gsp_ga10x.bin",
                           "/etc/OpenCL/vendors/nvidia.icd", "/usr/share/nvidia/nvoptix.bin",
                           "/run/nvidia-persistenced/socket"}) {
    EXPECT_THAT(mounts(spec.common), Contains(path));
  }
  EXPECT_EQ(spec.common.mounts.size(), 7u) << "and nothing else";
  for (const Mount& mount : spec.common.mounts) {
    const bool socket = mount.container_path.ends_with("socket");
    EXPECT_EQ(mount.options[0], socket ? "nosuid" : "ro") << mount.container_path;
  }
  config_.cdi_feature_flags = {"disable-ipc-discoverer"};
  EXPECT_THAT(mounts(gpu().common), Not(Contains("/run/nvidia-persistenced/socket")));
}

TEST_F(Machine, LinksInsideTheDriversRootAreFollowedInsideIt) {
  file("opt/tools/nvidia-smi");
  link("/opt/tools/nvidia-smi", "usr/bin/nvidia-smi");
  link("/etc/passwd", "usr/bin/nvidia-debugdump");  // there on this machine, not in that root
  link("nvidia-imex", "usr/bin/nvidia-imex");       // a circle
  config_.driver_root = "/host";
  const Spec spec = gpu();
  EXPECT_THAT(
      spec.common.mounts,
      Contains(testing::AllOf(testing::Field(&Mount::host_path, "/host/opt/tools/nvidia-smi"),
                              testing::Field(&Mount::container_path, "/usr/bin/nvidia-smi"))));
  EXPECT_THAT(mounts(spec.common), Not(Contains("/usr/bin/nvidia-debugdump")));
  EXPECT_EQ(Rooted(root_).resolve("/usr/../../../usr/./bin//nvidia-smi"), "/opt/tools/nvidia-smi");
}

TEST_F(Machine, HooksAreNvidiasCommandLines) {
  std::vector<std::vector<std::string>> lines;
  for (const Hook& hook : gpu().common.hooks) {
    EXPECT_EQ(hook.name, "createContainer");
    EXPECT_EQ(hook.path, "/usr/bin/nvidia-ctk");
    EXPECT_THAT(hook.env, ElementsAre("NVIDIA_CTK_DEBUG=false"));
    lines.push_back(hook.args);
  }
  const std::string lib = kLib;
  EXPECT_THAT(
      lines,
      ElementsAre(
          std::vector<std::string>{"nvidia-ctk", "hook", "create-symlinks", "--link",
                                   "libcuda.so.580.65.06::" + lib + "libcuda.so.1", "--link",
                                   "libcuda.so.1::" + lib + "libcuda.so"},
          std::vector<std::string>{"nvidia-ctk", "hook", "enable-cuda-compat",
                                   "--host-driver-version=580.65.06"},
          std::vector<std::string>{"nvidia-ctk", "hook", "update-ldcache", "--ldconfig-path",
                                   "/sbin/ldconfig", "--folder", "/usr/lib/x86_64-linux-gnu"},
          std::vector<std::string>{"nvidia-ctk", "hook", "disable-device-node-modification"},
          std::vector<std::string>{"nvidia-ctk", "hook", "update-application-profile"}));

  config_.cdi_hook_path = "/opt/bin/nvidia-cdi-hook";
  config_.cdi_disable_hooks = {"create-symlinks", "update-ldcache", "enable-cuda-compat",
                               "update-application-profile"};
  ASSERT_EQ(gpu().common.hooks.size(), 1u);
  EXPECT_THAT(gpu().common.hooks[0].args,
              ElementsAre("nvidia-cdi-hook", "disable-device-node-modification"));
  config_.cdi_disable_hooks = {"all"};
  EXPECT_THAT(gpu().common.hooks, IsEmpty());
}

TEST_F(Machine, TheHookProgramIsTheFirstThatIsThere) {
  auto program = [&] {
    return gpu().common.hooks.at(0).path + " " + gpu().common.hooks[0].args[0];
  };
  EXPECT_EQ(program(), "/usr/bin/nvidia-ctk nvidia-ctk") << "none is there: as configured";
  file("opt/kerf/bin/kerf-cdi-hook");
  EXPECT_EQ(program(), "/opt/kerf/bin/kerf-cdi-hook kerf-cdi-hook");
  file("usr/bin/nvidia-cdi-hook");
  EXPECT_EQ(program(), "/usr/bin/nvidia-cdi-hook nvidia-cdi-hook");
  file("usr/bin/nvidia-ctk");
  EXPECT_EQ(program(), "/usr/bin/nvidia-ctk nvidia-ctk");
  config_.cdi_hook_path = "/srv/kerf";
  file("srv/kerf");
  EXPECT_EQ(gpu().common.hooks.at(0).args[1], "cdi-hook");
  // Of a driver's own root nothing can be told about the host's programs.
  config_.cdi_hook_path = "/elsewhere/nvidia-cdi-hook";
  config_.driver_root = "/run/nvidia/driver";
  EXPECT_EQ(program(), "/elsewhere/nvidia-cdi-hook nvidia-cdi-hook");
}

TEST_F(Machine, RenderNodesComeWithTheirLinks) {
  file("dev/dri/card1");
  file("dev/dri/renderD128");
  file("sys/bus/pci/devices/0000:00:00.0/drm/card1/dev");
  file("sys/bus/pci/devices/0000:00:00.0/drm/renderD128/dev");
  link("../card1", "dev/dri/by-path/pci-0000:00:00.0-card");
  const Spec spec = gpu();
  EXPECT_THAT(nodes(spec.devices[0].edits),
              ElementsAre("/dev/nvidia3", "/dev/dri/card1", "/dev/dri/renderD128"));
  EXPECT_THAT(spec.devices[0].edits.hooks.at(0).args,
              ElementsAre("nvidia-ctk", "hook", "create-symlinks", "--link",
                          "../card1::/dev/dri/by-path/pci-0000:00:00.0-card"));
  EXPECT_THAT(nodes(spec.devices[1].edits), ElementsAre("/dev/nvidia2"));
}

TEST_F(Machine, GroupsOfClosedNodesComeAlongUnlessSwitchedOff) {
  DriverTree seen = tree();
  seen.nodes["/dev/nvidia3"] = {195, 3, 0660, 44};
  seen.nodes["/dev/nvidia2"] = {195, 2, 0666, 44};
  Spec spec = make_specs(snapshot_, config_, seen, {}).specs.at(0);
  expect_schema(render(spec));
  EXPECT_THAT(spec.devices[0].edits.additional_gids, ElementsAre(44u));
  EXPECT_THAT(spec.devices[1].edits.additional_gids, IsEmpty());
  EXPECT_EQ(minimum_version(spec), "0.7.0");
  const json node = json::parse(render(spec))["devices"][0]["containerEdits"]["deviceNodes"][0];
  EXPECT_EQ(node, (json{{"path", "/dev/nvidia3"},
                        {"major", 195},
                        {"minor", 3},
                        {"fileMode", 0660},
                        {"permissions", "rwm"},
                        {"gid", 44}}));
  config_.cdi_feature_flags = {"no-additional-gids-for-device-nodes"};
  spec = make_specs(snapshot_, config_, seen, {}).specs.at(0);
  EXPECT_EQ(minimum_version(spec), "0.3.0");
}

TEST_F(Machine, FeaturesHaveOneDeviceAllAndAreDroppedWhereThereIsNone) {
  config_.gdrcopy_enabled = config_.gds_enabled = config_.mofed_enabled = true;
  config_.imex_channel_ids = {0};
  Specs all = specs();
  EXPECT_EQ(all.specs.size(), 1u);
  EXPECT_THAT(all.empty, ElementsAre("imex-channel", "gdrcopy", "gds", "mofed"));

  for (const char* path : {"dev/gdrdrv", "dev/nvidia-fs0", "dev/nvidia-fs1", "etc/cufile.json",
                           "run/udev/data", "dev/infiniband/uverbs0", "dev/infiniband/rdma_cm",
                           "dev/infiniband/umad0", "dev/nvidia-caps-imex-channels/channel0"}) {
    file(path);
  }
  config_.dev_root = "/run/nvidia/driver";
  all = specs({0});
  EXPECT_THAT(all.empty, IsEmpty());
  ASSERT_EQ(all.specs.size(), 5u);
  EXPECT_THAT(names(all.specs[1]), ElementsAre("0"));
  EXPECT_EQ(all.specs[1].devices[0].edits.nodes[0].host_path,
            "/run/nvidia/driver/dev/nvidia-caps-imex-channels/channel0");
  for (std::size_t i = 2; i < 5; ++i) EXPECT_THAT(names(all.specs[i]), ElementsAre("all"));
  EXPECT_THAT(nodes(all.specs[2].devices[0].edits), ElementsAre("/dev/gdrdrv"));
  EXPECT_THAT(nodes(all.specs[3].devices[0].edits),
              ElementsAre("/dev/nvidia-fs0", "/dev/nvidia-fs1"));
  EXPECT_THAT(mounts(all.specs[3].devices[0].edits), ElementsAre("/etc/cufile.json", "/run/udev"));
  EXPECT_THAT(nodes(all.specs[4].devices[0].edits),
              ElementsAre("/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0"));
}

TEST_F(Machine, WithoutTheDriversFilesThereIsAReasonInsteadOfHalfASpecification) {
  fs::remove(root_ + "/dev/nvidiactl");
  EXPECT_THAT(specs().gpu_trouble.value().text(), HasSubstr("device nodes are not visible"));
  snapshot_.driver.version = "590.1.1";
  EXPECT_THAT(specs().gpu_trouble.value().text(),
              HasSubstr("runs is 590.1.1, but the libraries are those of 580.65.06"));
  fs::remove_all(root_ + "/usr");
  const Error error = specs().gpu_trouble.value();
  EXPECT_EQ(error.subject, root_);
  EXPECT_THAT(error.hint, HasSubstr("--driver-root-ctr-path"));
  EXPECT_THAT(specs().specs, IsEmpty());
  snapshot_.gpus.clear();
  EXPECT_FALSE(specs().gpu_trouble) << "no GPUs need no files";
}

// --- the directory --------------------------------------------------------------------------

TEST_F(Machine, FilesAreWrittenWholeWithTheContractsNameAndModeAndOnlyWhenTheyDiffer) {
  Directory directory(root_ + "/var/run/cdi");
  const std::string path = root_ + "/var/run/cdi/k8s.device-plugin.nvidia.com-gpu.json";
  umask(077);
  EXPECT_TRUE(directory.write(gpu()).value());
  umask(022);
  struct stat before{};
  ASSERT_EQ(stat(path.c_str(), &before), 0);
  EXPECT_EQ(before.st_mode & 07777u, 0644u);
  EXPECT_EQ(read_file(path).value(), render(gpu()));
  EXPECT_FALSE(directory.write(gpu()).value());
  struct stat after{};
  ASSERT_EQ(stat(path.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);

  snapshot_.gpus.pop_back();
  EXPECT_TRUE(directory.write(gpu()).value());
  EXPECT_EQ(read_file(path).value(), render(gpu()));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ + "/var/run/cdi"), {}), 1);
  file("var/run/cdi/other.json");
  EXPECT_TRUE(directory.remove("gpu").value());
  EXPECT_FALSE(directory.remove("gpu").value());
  EXPECT_TRUE(fs::exists(root_ + "/var/run/cdi/other.json"));
}

TEST_F(Machine, ADirectoryThatCannotBeWrittenIsNamedWithTheRemedy) {
  file("var/run", "not a directory");
  Directory directory(root_ + "/var/run/cdi");
  const auto done = directory.write(gpu());
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().text(), HasSubstr(root_ + "/var/run/cdi"));
  EXPECT_THAT(done.error().hint, HasSubstr("kerf prepare --cdi-dir"));
  EXPECT_FALSE(directory.remove("gpu").value());
}

}  // namespace
}  // namespace kerf::cdi
