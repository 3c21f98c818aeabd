// Tests of the answers to Allocate: the contract's worked responses and what surrounds them.
#include "allocate/allocate.h"

#include "allocate/cdi.h"
#include "edits/edits.h"
#include "plan/sample_nodes.h"

namespace kerf::allocate {
namespace {

using config::DeviceIdStrategy;
using config::DeviceListStrategy;
using edits::DeviceNode;
using edits::Mount;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;
namespace sample = plan::sample;

using Ids = std::vector<std::string_view>;

// GPU-a with minor 3 and GPU-b with minor 0: minors are not indices.
inventory::SnapshotPtr two_gpus() {
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1)};
  gpus[0].uuid = "GPU-a";
  gpus[0].minor = 3;
  gpus[1].uuid = "GPU-b";
  gpus[1].minor = 0;
  return sample::node(std::move(gpus));
}

Index index_of(const config::Config& config, inventory::SnapshotPtr snapshot = two_gpus()) {
  return Index(sample::plan(std::move(snapshot), config), 0);
}

const Ids kWorkedRequest = {"GPU-a::1", "GPU-a::3", "GPU-b::0"};

struct Row {
  const char* name;
  std::vector<DeviceListStrategy> strategies;
  DeviceIdStrategy ids = DeviceIdStrategy::kUuid;
  std::map<std::string, std::string> envs;
  std::vector<Mount> mounts;
};

class WorkedResponses : public testing::TestWithParam<Row> {};

Mount listed(const std::string& name) {
  return {"/dev/null", "/var/run/nvidia-container-devices/" + name, false};
}

TEST_P(WorkedResponses, AreGivenExactly) {
  config::Config config = sample::shared(4);
  config.device_list_strategies = GetParam().strategies;
  config.device_id_strategy = GetParam().ids;
  HostFacts host;
  host.imex_channels = {0};
  const auto edits = allocate(index_of(config), kWorkedRequest, host).value();
  EXPECT_EQ(edits.envs, GetParam().envs);
  EXPECT_EQ(edits.mounts, GetParam().mounts);
  EXPECT_THAT(edits.devices, IsEmpty());
  EXPECT_THAT(edits.annotations, IsEmpty());
  EXPECT_THAT(edits.cdi_devices, IsEmpty());
}

const char kFolder[] = "/var/run/nvidia-container-devices";

INSTANTIATE_TEST_SUITE_P(
    Allocate, WorkedResponses,
    testing::Values(Row{"Envvar",
                        {DeviceListStrategy::kEnvvar},
                        DeviceIdStrategy::kUuid,
                        {{"NVIDIA_VISIBLE_DEVICES", "GPU-a,GPU-b"}, {"NVIDIA_IMEX_CHANNELS", "0"}},
                        {}},
                    Row{"EnvvarByIndex",
                        {DeviceListStrategy::kEnvvar},
                        DeviceIdStrategy::kIndex,
                        {{"NVIDIA_VISIBLE_DEVICES", "0,1"}, {"NVIDIA_IMEX_CHANNELS", "0"}},
                        {}},
                    Row{"VolumeMounts",
                        {DeviceListStrategy::kVolumeMounts},
                        DeviceIdStrategy::kUuid,
                        {{"NVIDIA_VISIBLE_DEVICES", kFolder}},
                        {listed("GPU-a"), listed("GPU-b"), listed("imex/0")}},
                    Row{"VolumeMountsByIndex",
                        {DeviceListStrategy::kVolumeMounts},
                        DeviceIdStrategy::kIndex,
                        {{"NVIDIA_VISIBLE_DEVICES", kFolder}},
                        {listed("0"), listed("1"), listed("imex/0")}},
                    Row{"BothWhereMountsOverwriteTheVariable",
                        {DeviceListStrategy::kVolumeMounts, DeviceListStrategy::kEnvvar},
                        DeviceIdStrategy::kUuid,
                        {{"NVIDIA_VISIBLE_DEVICES", kFolder}, {"NVIDIA_IMEX_CHANNELS", "0"}},
                        {listed("GPU-a"), listed("GPU-b"), listed("imex/0")}}),
    [](const auto& row) { return row.param.name; });

TEST(Mps, ClientsGetTheWayToTheirDaemon) {
  config::Config config = sample::shared(4);
  config.sharing_strategy = config::SharingStrategy::kMps;
  config.mps_root = "/run/nvidia/mps";
  const auto edits = allocate(index_of(config), Ids{"GPU-a::1"}, {}).value();
  EXPECT_THAT(edits.envs, ElementsAre(Pair("CUDA_MPS_PIPE_DIRECTORY", "/mps/nvidia.com/gpu/pipe"),
                                      Pair("NVIDIA_VISIBLE_DEVICES", "GPU-a")));
  EXPECT_THAT(edits.mounts, ElementsAre(Mount{"/run/nvidia/mps/nvidia.com/gpu/pipe",
                                              "/mps/nvidia.com/gpu/pipe", false},
                                        Mount{"/run/nvidia/mps/shm", "/dev/shm", false}));
}

TEST(Mps, WholeDevicesBesideSharedOnesGetNothingOfIt) {
  config::Config config = sample::shared(4);
  config.sharing_strategy = config::SharingStrategy::kMps;
  config.sharing.resources[0].devices = config::FirstDevices{1};
  EXPECT_EQ(allocate(index_of(config), Ids{"GPU-b"}, {}).value(),
            edits::env("NVIDIA_VISIBLE_DEVICES", "GPU-b"));
}

TEST(Allocate, DefaultAnswerIsOneVariableAndNothingElse) {
  const auto edits = allocate(index_of(sample::shared(10)), Ids{"GPU-b::9"}, {}).value();
  EXPECT_EQ(edits, edits::env("NVIDIA_VISIBLE_DEVICES", "GPU-b"));
}

TEST(Allocate, ThreeSlicesForThreePodsAreOneGpu) {
  const Index index = index_of(sample::shared(10), sample::gpus(1));
  for (const char* replica : {"::0", "::4", "::9"}) {
    const std::string id = sample::uuid(0) + replica;
    const auto edits = allocate(index, Ids{id}, {}).value();
    EXPECT_THAT(edits.envs, ElementsAre(Pair("NVIDIA_VISIBLE_DEVICES", sample::uuid(0))));
  }
}

TEST(Allocate, NamesEachDeviceOnceInTheOrderAskedFor) {
  const Index index = index_of({});
  EXPECT_EQ(allocate(index, Ids{"GPU-b", "GPU-a", "GPU-b"}, {})->envs.begin()->second,
            "GPU-b,GPU-a");
}

TEST(Allocate, NamesIndicesInNumericOrder) {
  config::Config config;
  config.device_id_strategy = DeviceIdStrategy::kIndex;
  const Index index = index_of(config, sample::gpus(12));
  const std::string ten = sample::uuid(10), two = sample::uuid(2);
  EXPECT_EQ(allocate(index, Ids{ten, two, ten}, {})->envs.begin()->second, "2,10");
}

TEST(Allocate, EnablesFeaturesUnderEveryStrategy) {
  config::Config config;
  config.gdrcopy_enabled = config.gds_enabled = config.mofed_enabled = true;
  for (auto strategy : {DeviceListStrategy::kEnvvar, DeviceListStrategy::kVolumeMounts}) {
    config.device_list_strategies = {strategy};
    const auto envs = allocate(index_of(config), Ids{"GPU-a"}, {})->envs;
    EXPECT_EQ(envs.at("NVIDIA_GDRCOPY"), "enabled");
    EXPECT_EQ(envs.at("NVIDIA_GDS"), "enabled");
    EXPECT_EQ(envs.at("NVIDIA_MOFED"), "enabled");
  }
}

TEST(Allocate, NoIdsGiveNoGpuEvenIfTheImageAsksForAll) {
  config::Config config = sample::shared(2);
  config.sharing.fail_requests_greater_than_one = true;
  config.pass_device_specs = true;
  for (auto strategy : {DeviceListStrategy::kEnvvar, DeviceListStrategy::kVolumeMounts}) {
    config.device_list_strategies = {strategy};
    HostFacts host;
    host.nvidiactl = true;
    EXPECT_EQ(allocate(index_of(config), {}, host).value(),
              edits::env("NVIDIA_VISIBLE_DEVICES", ""));
  }
}

// --- by CDI name ----------------------------------------------------------------------------

const char kGpuA[] = "k8s.device-plugin.nvidia.com/gpu=GPU-a";
const char kGpuB[] = "k8s.device-plugin.nvidia.com/gpu=GPU-b";
const char kChannel[] = "k8s.device-plugin.nvidia.com/imex-channel=0";
const char kGdrcopy[] = "k8s.device-plugin.nvidia.com/gdrcopy=all";
const char kGds[] = "k8s.device-plugin.nvidia.com/gds=all";
const char kMofed[] = "k8s.device-plugin.nvidia.com/mofed=all";

// Every specification is written; IMEX channel 0 is there.
HostFacts specified() {
  HostFacts host;
  host.imex_channels = {0};
  host.cdi.devices = {kGpuA, kGpuB, kChannel, kGdrcopy, kGds, kMofed};
  return host;
}

std::string only_key(const edits::Edits& edits) { return edits.annotations.begin()->first; }

TEST(Cdi, AnnotationsNameDevicesAndNothingElseIsGiven) {
  config::Config config = sample::shared(4);
  config.device_list_strategies = {DeviceListStrategy::kCdiAnnotations};
  config.pass_device_specs = true;  // ignored
  const auto edits = allocate(index_of(config), kWorkedRequest, specified()).value();
  ASSERT_EQ(edits.annotations.size(), 1u);
  EXPECT_THAT(only_key(edits), StartsWith("cdi.k8s.io/nvidia-device-plugin_"));
  EXPECT_EQ(edits.annotations.begin()->second, std::string(kGpuA) + "," + kGpuB + "," + kChannel);
  EXPECT_THAT(edits.envs, IsEmpty());
  EXPECT_THAT(edits.mounts, IsEmpty());
  EXPECT_THAT(edits.devices, IsEmpty());
  EXPECT_THAT(edits.cdi_devices, IsEmpty());
}

TEST(Cdi, TheKubeletsFieldNamesDevicesAndFeaturesInTheContractsOrder) {
  config::Config config = sample::shared(4);
  config.device_list_strategies = {DeviceListStrategy::kCdiCri};
  config.gds_enabled = true;
  auto edits = allocate(index_of(config), kWorkedRequest, specified()).value();
  EXPECT_THAT(edits.cdi_devices, ElementsAre(kGpuA, kGpuB, kChannel, kGds));
  EXPECT_THAT(edits.envs, ElementsAre(Pair("NVIDIA_GDS", "enabled")));
  EXPECT_THAT(edits.annotations, IsEmpty());
  config.gdrcopy_enabled = config.mofed_enabled = true;
  edits = allocate(index_of(config), kWorkedRequest, specified()).value();
  EXPECT_THAT(edits.cdi_devices, ElementsAre(kGpuA, kGpuB, kChannel, kGdrcopy, kGds, kMofed));
}

TEST(Cdi, GoesTogetherWithEveryOtherStrategy) {
  config::Config config = sample::shared(4);
  config.device_list_strategies = {DeviceListStrategy::kEnvvar, DeviceListStrategy::kCdiCri};
  auto edits = allocate(index_of(config), kWorkedRequest, specified()).value();
  EXPECT_THAT(edits.envs, ElementsAre(Pair("NVIDIA_IMEX_CHANNELS", "0"),
                                      Pair("NVIDIA_VISIBLE_DEVICES", "GPU-a,GPU-b")));
  EXPECT_THAT(edits.cdi_devices, ElementsAre(kGpuA, kGpuB, kChannel));

  config.device_list_strategies = {DeviceListStrategy::kCdiAnnotations,
                                   DeviceListStrategy::kVolumeMounts, DeviceListStrategy::kCdiCri,
                                   DeviceListStrategy::kEnvvar};
  config.pass_device_specs = true;
  edits = allocate(index_of(config), kWorkedRequest, specified()).value();
  EXPECT_EQ(edits.envs.at("NVIDIA_VISIBLE_DEVICES"), kFolder);
  EXPECT_EQ(edits.mounts.size(), 3u);
  EXPECT_EQ(edits.devices.size(), 3u);
  EXPECT_EQ(edits.annotations.size(), 1u);
  EXPECT_EQ(edits.cdi_devices.size(), 3u);
}

TEST(Cdi, NamesIndicesInNumericOrder) {
  config::Config config;
  config.device_list_strategies = {DeviceListStrategy::kCdiCri};
  config.device_id_strategy = DeviceIdStrategy::kIndex;
  HostFacts host;
  host.cdi.devices = {"k8s.device-plugin.nvidia.com/gpu=2", "k8s.device-plugin.nvidia.com/gpu=10"};
  const Index index = index_of(config, sample::gpus(12));
  const std::string ten = sample::uuid(10), two = sample::uuid(2);
  EXPECT_THAT(
      allocate(index, Ids{ten, two, ten}, host)->cdi_devices,
      ElementsAre("k8s.device-plugin.nvidia.com/gpu=2", "k8s.device-plugin.nvidia.com/gpu=10"));
}

TEST(Cdi, TheKeyIsTheSameForOneRequestAndDiffersBetweenContainersAndResources) {
  const std::string key = cdi_annotation_key("cdi.k8s.io/", "nvidia.com/gpu", Ids{"a", "b"});
  EXPECT_EQ(cdi_annotation_key("cdi.k8s.io/", "nvidia.com/gpu", Ids{"b", "a"}), key);
  EXPECT_NE(cdi_annotation_key("cdi.k8s.io/", "nvidia.com/gpu", Ids{"a"}), key);
  EXPECT_NE(cdi_annotation_key("cdi.k8s.io/", "nvidia.com/gpu", Ids{"ab"}), key);
  EXPECT_NE(cdi_annotation_key("cdi.k8s.io/", "nvidia.com/mig-1g.5gb", Ids{"a", "b"}), key);
  EXPECT_NE(cdi_annotation_key("cdi.k8s.io/", "nvidia.com/gpu", Ids{"a::0"}),
            cdi_annotation_key("cdi.k8s.io/", "nvidia.com/gpu", Ids{"a::1"}));
  EXPECT_THAT(cdi_annotation_key("custom.cdi.k8s.io/", "r", Ids{"a"}),
              testing::MatchesRegex("custom\\.cdi\\.k8s\\.io/nvidia-device-plugin_"
                                    "[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                    "[0-9a-f]{12}"));
  EXPECT_LE(key.size() - std::string("cdi.k8s.io/").size(), 63u);
}

struct NamesRow {
  Ids gpus;
  bool gds, mofed;
  std::vector<std::string> names;
};

TEST(Cdi, ListsWhatIsSwitchedOnAfterTheDevices) {
  HostFacts host = specified();
  host.imex_channels.clear();
  for (const NamesRow& row :
       {NamesRow{{"GPU-a", "GPU-b"}, false, false, {kGpuA, kGpuB}},
        NamesRow{{}, true, false, {kGds}}, NamesRow{{"GPU-a"}, true, true, {kGpuA, kGds, kMofed}},
        NamesRow{{}, false, false, {}}}) {
    config::Config config;
    config.device_list_strategies = {DeviceListStrategy::kCdiAnnotations};
    config.gds_enabled = row.gds;
    config.mofed_enabled = row.mofed;
    EXPECT_EQ(cdi_devices(config, row.gpus, host).value(), row.names);
  }
  config::Config config;
  config.device_list_strategies = {DeviceListStrategy::kCdiAnnotations,
                                   DeviceListStrategy::kCdiCri};
  EXPECT_EQ(cdi_edits(config, "key", {}), edits::Edits{});
}

TEST(Cdi, FeaturesThatTheMachineLacksAreNotNamedButStillAnnounced) {
  config::Config config;
  config.device_list_strategies = {DeviceListStrategy::kCdiCri};
  config.gds_enabled = true;
  HostFacts host;
  host.cdi.devices = {kGpuA};
  const auto edits = allocate(index_of(config), Ids{"GPU-a"}, host).value();
  EXPECT_THAT(edits.cdi_devices, ElementsAre(kGpuA));
  EXPECT_THAT(edits.envs, ElementsAre(Pair("NVIDIA_GDS", "enabled")));
}

TEST(Cdi, WithoutASpecificationTheRequestIsRefusedWithTheReason) {
  config::Config config;
  config.gds_enabled = true;
  for (auto strategies :
       {std::vector{DeviceListStrategy::kCdiCri}, std::vector{DeviceListStrategy::kCdiAnnotations},
        std::vector{DeviceListStrategy::kEnvvar, DeviceListStrategy::kCdiCri}}) {
    config.device_list_strategies = strategies;
    HostFacts host;
    auto answer = allocate(index_of(config), Ids{"GPU-a"}, host);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().text(),
              "failed to get allocate response: failed to get allocate response for CDI: no CDI "
              "specification offers " +
                  std::string(kGpuA));
    host.cdi.trouble["gpu"] = "cannot write: permission denied";
    EXPECT_THAT(allocate(index_of(config), Ids{"GPU-a"}, host).error().text(),
                HasSubstr("offers " + std::string(kGpuA) + ": cannot write: permission denied"));
    host = specified();
    host.cdi.devices.erase(kChannel);
    EXPECT_FALSE(allocate(index_of(config), Ids{"GPU-a"}, host)) << "a channel is missing";
    host.imex_channels.clear();
    EXPECT_TRUE(allocate(index_of(config), Ids{"GPU-a"}, host));
    host.cdi.devices.erase(kGds);
    host.cdi.trouble["gds"] = "disk full";
    EXPECT_FALSE(allocate(index_of(config), Ids{"GPU-a"}, host)) << "gds could not be written";
  }
}

// --- refusals -------------------------------------------------------------------------------

TEST(Allocate, RefusesUnknownIdsWordForWord) {
  const Index index = index_of(sample::shared(4));
  for (const char* id :
       {"GPU-c::0", "GPU-a", "GPU-a::4", "GPU-a::01", "GPU-a::", "", "GPU-a::1 "}) {
    const auto answer = allocate(index, Ids{"GPU-a::1", id}, {});
    ASSERT_FALSE(answer) << id;
    EXPECT_EQ(answer.error().text(),
              "invalid allocation request for \"nvidia.com/gpu\": invalid request: unknown "
              "device: " +
                  std::string(id));
  }
}

struct LimitRow {
  bool limited;
  Ids ids;
  bool accepted;
};

TEST(Allocate, LimitsRequestsForSharedResourcesToOneWhereConfigured) {
  config::Config config = sample::shared(4);
  for (const LimitRow& row :
       {LimitRow{true, {"GPU-a::0"}, true}, LimitRow{true, {"GPU-a::0", "GPU-a::1"}, false},
        LimitRow{true, {"GPU-a::0", "GPU-b::0"}, false},
        LimitRow{true, {"GPU-a::0", "GPU-a::0"}, false},
        LimitRow{false, {"GPU-a::0", "GPU-a::1"}, true},
        LimitRow{false, {"GPU-a::0", "GPU-b::0"}, true}}) {
    config.sharing.fail_requests_greater_than_one = row.limited;
    const auto answer = allocate(index_of(config), row.ids, {});
    ASSERT_EQ(answer.has_value(), row.accepted);
    if (answer) continue;
    EXPECT_EQ(answer.error().text(),
              "invalid allocation request for \"nvidia.com/gpu\": invalid request: maximum request "
              "size for shared resources is 1; found 2");
  }
}

TEST(Allocate, DoesNotLimitWholeDevicesBesideSharedOnes) {
  config::Config config = sample::shared(2);
  config.sharing.resources[0].devices = config::FirstDevices{1};
  config.sharing.fail_requests_greater_than_one = true;
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1), sample::gpu(2)};
  const Index index = index_of(config, sample::node(gpus));
  const std::string one = sample::uuid(1), two = sample::uuid(2), slice = sample::uuid(0) + "::0";
  EXPECT_TRUE(allocate(index, Ids{one, two}, {}));
  EXPECT_FALSE(allocate(index, Ids{slice, two}, {}));
}

// --- device nodes ---------------------------------------------------------------------------

HostFacts everything() {
  HostFacts host;
  host.nvidiactl = host.uvm = host.uvm_tools = host.modeset = true;
  return host;
}

std::vector<std::string> paths(const edits::Edits& edits) {
  std::vector<std::string> paths;
  for (const DeviceNode& node : edits.devices) paths.push_back(node.container_path);
  return paths;
}

TEST(DeviceNodes, AreControlNodesThenGpusOnceEachByMinor) {
  config::Config config = sample::shared(4);
  config.pass_device_specs = true;
  config.dev_root = "/run/nvidia/driver";
  HostFacts host = everything();
  host.imex_channels = {0};
  const auto edits = allocate(index_of(config), kWorkedRequest, host).value();
  EXPECT_THAT(paths(edits),
              ElementsAre("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools",
                          "/dev/nvidia-modeset", "/dev/nvidia3", "/dev/nvidia0",
                          "/dev/nvidia-caps-imex-channels/channel0"));
  for (const DeviceNode& node : edits.devices) {
    EXPECT_EQ(node.host_path, "/run/nvidia/driver" + node.container_path);
    EXPECT_EQ(node.permissions, "rw");
  }
}

TEST(DeviceNodes, ThatDoNotExistAreNotPassed) {
  config::Config config;
  config.pass_device_specs = true;
  HostFacts host;
  host.nvidiactl = true;
  const auto edits = allocate(index_of(config), Ids{"GPU-a"}, host).value();
  EXPECT_EQ(edits.devices, (std::vector<DeviceNode>{{"/dev/nvidiactl", "/dev/nvidiactl", "rw"},
                                                    {"/dev/nvidia3", "/dev/nvidia3", "rw"}}));
}

TEST(DeviceNodes, GoWithVolumeMounts) {
  config::Config config;
  config.pass_device_specs = true;
  config.device_list_strategies = {DeviceListStrategy::kVolumeMounts};
  const auto edits = allocate(index_of(config), Ids{"GPU-a"}, everything()).value();
  EXPECT_EQ(edits.mounts, std::vector<Mount>{listed("GPU-a")});
  EXPECT_EQ(edits.devices.size(), 5u);
}

TEST(DeviceNodes, OfMigDevicesAreTheParentAndTwoCapabilities) {
  inventory::Gpu gpu = sample::mig_gpu(0, {"1g.10gb", "1g.10gb"});
  gpu.minor = 5;
  config::Config config = sample::shared(2, "nvidia.com/mig-1g.10gb");
  config.mig_strategy = config::MigStrategy::kMixed;
  config.pass_device_specs = true;
  config.device_id_strategy = DeviceIdStrategy::kIndex;
  const Index index = index_of(config, sample::node({gpu}));
  const std::string first = sample::uuid(100, "MIG"), second = sample::uuid(101, "MIG");
  const std::string a = second + "::0", b = second + "::1", c = first + "::1";
  const auto edits = allocate(index, Ids{a, b, c}, {}).value();
  EXPECT_EQ(edits.envs.at("NVIDIA_VISIBLE_DEVICES"), "0:0,0:1");
  EXPECT_THAT(
      paths(edits),
      ElementsAre("/dev/nvidia5", "/dev/nvidia-caps/nvidia-cap10", "/dev/nvidia-caps/nvidia-cap11",
                  "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13"));
}

TEST(DeviceNodes, AreRefusedWhereTheCapabilityIsUnknown) {
  inventory::Gpu gpu = sample::mig_gpu(0, {"1g.10gb"});
  gpu.mig_devices[0].compute_instance_minor.reset();
  config::Config config;
  config.mig_strategy = config::MigStrategy::kMixed;
  config.pass_device_specs = true;
  const std::string id = sample::uuid(100, "MIG");
  const auto answer = allocate(index_of(config, sample::node({gpu})), Ids{id}, {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().text(),
            "invalid allocation request for \"nvidia.com/mig-1g.10gb\": invalid request: missing "
            "MIG compute instance capability: gpu0/mig/gi7/ci0");
}

}  // namespace
}  // namespace kerf::allocate
