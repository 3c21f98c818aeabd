// Tests of what is advertised: names, ids, order, topology, health and warnings.
#include "plan/plan.h"

#include <set>

#include "plan/sample_nodes.h"

namespace kerf::plan {
namespace {

using sample::uuid;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> names;
  for (const Resource& resource : plan.resources) names.push_back(resource.name);
  return names;
}

struct Tier {
  unsigned replicas;
  unsigned gpus;
};

class EveryTier : public testing::TestWithParam<Tier> {};

TEST_P(EveryTier, GivesReplicasTimesGpusDistinctHealthyIdsInOrder) {
  const auto [replicas, gpus] = GetParam();
  const PlanPtr plan = sample::plan(sample::gpus(gpus), sample::shared(replicas));
  if (gpus == 0) {
    EXPECT_THAT(plan->resources, IsEmpty());
    EXPECT_THAT(plan->warnings, IsEmpty());
    return;
  }
  ASSERT_THAT(names(*plan), ElementsAre("nvidia.com/gpu"));
  const Resource& resource = plan->resources[0];
  EXPECT_EQ(resource.shared, replicas > 1);
  ASSERT_THAT(resource.devices, SizeIs(replicas * gpus));
  std::set<std::string> distinct;
  for (unsigned i = 0; i < resource.devices.size(); ++i) {
    const Device& device = resource.devices[i];
    distinct.insert(device.id);
    EXPECT_EQ(device.gpu, i / replicas);
    EXPECT_EQ(device.physical_id, uuid(i / replicas));
    EXPECT_EQ(device.id, replicas > 1 ? uuid(i / replicas) + "::" + std::to_string(i % replicas)
                                      : uuid(i / replicas));
    EXPECT_EQ(device.index, std::to_string(i / replicas));
    EXPECT_LE(device.id.size(), kMaxIdLength);
    EXPECT_TRUE(device.healthy);
  }
  EXPECT_THAT(distinct, SizeIs(replicas * gpus));
}

std::vector<Tier> all_tiers() {
  std::vector<Tier> tiers;
  for (unsigned replicas : {1u, 2u, 3u, 4u, 5u, 10u, 20u, 50u, 100u}) {
    for (unsigned gpus : {0u, 1u, 2u, 8u, 16u}) tiers.push_back({replicas, gpus});
  }
  return tiers;
}

INSTANTIATE_TEST_SUITE_P(Plan, EveryTier, testing::ValuesIn(all_tiers()), [](const auto& row) {
  return std::to_string(row.param.replicas) + "ReplicasOf" + std::to_string(row.param.gpus) +
         "Gpus";
});

TEST(Plan, TwoGpusOfFourSlicesAreExactlyEight) {
  const PlanPtr plan = sample::plan(sample::gpus(2), sample::shared(4));
  EXPECT_THAT(find_resource(*plan, "nvidia.com/gpu")->devices, SizeIs(8));
  EXPECT_EQ(find_resource(*plan, "nvidia.com/other"), nullptr);
  EXPECT_EQ(sharing_of(*find_resource(*plan, "nvidia.com/gpu")), "time-slicing");
  EXPECT_EQ(replicas_of(*find_resource(*plan, "nvidia.com/gpu")), 4u);
  EXPECT_EQ(sharing_of(Resource()), "none");
  EXPECT_EQ(replicas_of(Resource()), 0u);
}

TEST(Plan, KeepsGenerationConfigurationAndSnapshot) {
  const auto snapshot = sample::gpus(1);
  config::Config config = sample::shared(4);
  config.pass_device_specs = true;
  const Plan plan = make_plan(snapshot, config, 17).value();
  EXPECT_EQ(plan.generation, 17u);
  EXPECT_EQ(plan.snapshot, snapshot);
  EXPECT_TRUE(plan.config.pass_device_specs);
}

TEST(Plan, WithoutASnapshotAdvertisesNothing) {
  const Plan plan = make_plan(nullptr, {}, 1).value();
  EXPECT_THAT(plan.resources, IsEmpty());
  EXPECT_NE(plan.snapshot, nullptr);
}

TEST(Plan, LeavesOutTheDisplayGpuAndKeepsTheIndexOfTheOthers) {
  for (const char* name : {"DGX Display", "NVIDIA DGX Display"}) {
    const PlanPtr plan = sample::plan(
        sample::node({sample::gpu(0), sample::gpu(1, name), sample::gpu(2)}), sample::shared(1));
    ASSERT_THAT(plan->resources[0].devices, SizeIs(2));
    EXPECT_EQ(plan->resources[0].devices[1].index, "2");
    EXPECT_EQ(plan->resources[0].devices[1].gpu, 2u);
    EXPECT_THAT(plan->warnings, IsEmpty());
  }
}

TEST(Plan, LongestIdsFitTheKubelet) {
  inventory::Gpu gpu = sample::mig_gpu(0, {"1g.10gb"});
  gpu.mig_devices[0].uuid = "MIG-GPU-00000000-0000-0000-0000-000000000000/13/0";
  config::Config config = sample::shared(1000);
  config.mig_strategy = config::MigStrategy::kSingle;
  const PlanPtr plan = sample::plan(sample::node({gpu}), config);
  EXPECT_EQ(plan->resources[0].devices.back().id, gpu.mig_devices[0].uuid + "::999");
  EXPECT_LE(plan->resources[0].devices.back().id.size(), kMaxIdLength);
}

TEST(Plan, TellsTheNumaNodeWhereItIsKnown) {
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1),
                                      sample::mig_gpu(2, {"1g.10gb"}), sample::gpu(3)};
  gpus[0].numa_node = 0;
  gpus[1].numa_node = -1;
  gpus[2].numa_node = 1;
  config::Config config = sample::shared(2);
  config.mig_strategy = config::MigStrategy::kMixed;
  const PlanPtr plan = sample::plan(sample::node(gpus), config);
  const auto& whole = find_resource(*plan, "nvidia.com/gpu")->devices;
  EXPECT_EQ(whole[1].numa_node, 0);
  EXPECT_EQ(whole[2].numa_node, std::nullopt);
  EXPECT_EQ(whole[4].numa_node, std::nullopt);
  EXPECT_EQ(find_resource(*plan, "nvidia.com/mig-1g.10gb")->devices[0].numa_node, 1);
}

// --- MIG strategies -------------------------------------------------------------------------

struct StrategyRow {
  config::MigStrategy strategy;
  std::vector<std::string> resources;
};

TEST(MigStrategy, NamesResources) {
  const auto snapshot =
      sample::node({sample::gpu(0), sample::mig_gpu(1, {"1g.10gb", "1g.10gb+me", "1g.24gb-me",
                                                        "1g.24gb+me.all", "1g.24gb+gfx"})});
  const StrategyRow rows[] = {{config::MigStrategy::kNone, {"nvidia.com/gpu"}},
                              {config::MigStrategy::kSingle, {"nvidia.com/gpu"}},
                              {config::MigStrategy::kMixed,
                               {"nvidia.com/gpu", "nvidia.com/mig-1g.10gb",
                                "nvidia.com/mig-1g.10gb.me", "nvidia.com/mig-1g.24gb-me",
                                "nvidia.com/mig-1g.24gb.gfx", "nvidia.com/mig-1g.24gb.me.all"}}};
  for (const StrategyRow& row : rows) {
    config::Config config;
    config.mig_strategy = row.strategy;
    EXPECT_EQ(names(*sample::plan(snapshot, config)), row.resources);
  }
}

TEST(MigStrategy, NoneAdvertisesAGpuInMigModeAsAWhole) {
  const PlanPtr plan = sample::plan(sample::node({sample::mig_gpu(0, {"1g.10gb"})}));
  EXPECT_THAT(sample::ids(plan->resources[0]), ElementsAre(uuid(0)));
}

TEST(MigStrategy, SingleReplacesGpusByTheirMigDevices) {
  config::Config config = sample::shared(2);
  config.mig_strategy = config::MigStrategy::kSingle;
  const PlanPtr plan = sample::plan(
      sample::node({sample::mig_gpu(0, {"3g.40gb", "3g.40gb"}), sample::mig_gpu(1, {"3g.40gb"})}),
      config);
  const auto& devices = plan->resources.at(0).devices;
  ASSERT_THAT(devices, SizeIs(6));
  EXPECT_EQ(devices[0].id, uuid(100, "MIG") + "::0");
  EXPECT_EQ(devices[2].index, "0:1");
  EXPECT_EQ(devices[5].index, "1:0");
  EXPECT_EQ(devices[5].gpu, 1u);
  EXPECT_THAT(plan->warnings, IsEmpty());
}

TEST(MigStrategy, SingleKeepsWholeGpusFromBeingTakenForMigDevices) {
  config::Config config;
  config.mig_strategy = config::MigStrategy::kSingle;
  const PlanPtr plan =
      sample::plan(sample::node({sample::gpu(0), sample::mig_gpu(1, {"1g.10gb"})}), config);
  const auto& devices = plan->resources.at(0).devices;
  EXPECT_FALSE(devices[0].healthy);
  EXPECT_EQ(devices[0].unhealthy_reason,
            "all devices on the node must be configured with the same migEnabled value");
  EXPECT_TRUE(devices[1].healthy);
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("same migEnabled value")));
}

TEST(MigStrategy, SingleKeepsTheMostNumerousProfile) {
  config::Config config;
  config.mig_strategy = config::MigStrategy::kSingle;
  const PlanPtr plan =
      sample::plan(sample::node({sample::mig_gpu(0, {"3g.40gb", "1g.10gb", "1g.10gb"})}), config);
  const auto& devices = plan->resources.at(0).devices;
  EXPECT_FALSE(devices[0].healthy);
  EXPECT_EQ(devices[0].unhealthy_reason, "more than one MIG device type present on node");
  EXPECT_TRUE(devices[1].healthy && devices[2].healthy);
}

TEST(MigStrategy, AGpuInMigModeWithoutDevicesIsAWarning) {
  for (auto strategy : {config::MigStrategy::kSingle, config::MigStrategy::kMixed}) {
    config::Config config;
    config.mig_strategy = strategy;
    const PlanPtr plan = sample::plan(
        sample::node({sample::mig_gpu(0, {}), sample::mig_gpu(1, {"1g.10gb"})}), config);
    EXPECT_THAT(plan->resources.at(0).devices, SizeIs(1));
    EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("has no MIG devices configured")));
  }
}

TEST(MigStrategy, MixedLeavesOutAProfileItCannotName) {
  inventory::Gpu gpu = sample::mig_gpu(0, {"1g.10gb"});
  gpu.mig_devices.push_back(sample::mig(0, 1, "1c.3g.40gb", 3, 1));
  config::Config config;
  config.mig_strategy = config::MigStrategy::kMixed;
  PlanPtr plan = sample::plan(sample::node({gpu}), config);
  EXPECT_THAT(names(*plan), ElementsAre("nvidia.com/mig-1g.10gb"));
  EXPECT_THAT(
      plan->warnings,
      ElementsAre(HasSubstr("MIG profile '1c.3g.40gb' does not match any resource patterns")));

  config.mig_rules = {{"1c.*", "nvidia.com/third"}};
  plan = sample::plan(sample::node({gpu}), config);
  EXPECT_THAT(names(*plan), ElementsAre("nvidia.com/mig-1g.10gb", "nvidia.com/third"));
  EXPECT_THAT(plan->warnings, IsEmpty());
}

TEST(MigStrategy, UnknownCapabilityNodesMatterOnlyWhereNodesArePassed) {
  inventory::Gpu gpu = sample::mig_gpu(0, {"1g.10gb", "1g.10gb"});
  gpu.mig_devices[0].gpu_instance_minor.reset();
  config::Config config;
  config.mig_strategy = config::MigStrategy::kMixed;
  EXPECT_TRUE(sample::plan(sample::node({gpu}), config)->resources[0].devices[0].healthy);
  config.pass_device_specs = true;
  const PlanPtr plan = sample::plan(sample::node({gpu}), config);
  EXPECT_THAT(plan->resources[0].devices[0].unhealthy_reason,
              HasSubstr("missing MIG GPU instance capability: gpu0/mig/gi7"));
  EXPECT_TRUE(plan->resources[0].devices[1].healthy);
}

// --- rules ----------------------------------------------------------------------------------

TEST(ResourceRules, FirstMatchNamesTheDeviceAndTheDefaultTheRest) {
  config::Config config;
  config.gpu_rules = {{"*3090", "nvidia.com/rtx"}, {"*RTX*", "nvidia.com/other"}};
  const PlanPtr plan =
      sample::plan(sample::node({sample::gpu(0), sample::gpu(1, "NVIDIA RTX A6000"),
                                 sample::gpu(2, "Tesla T4")}),
                   config);
  EXPECT_THAT(names(*plan), ElementsAre("nvidia.com/gpu", "nvidia.com/other", "nvidia.com/rtx"));
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/gpu")), ElementsAre(uuid(2)));
}

TEST(ResourceRules, AreWarnedOfWhenTheyDoNothing) {
  config::Config config;
  config.gpu_rules = {{"H100*", "nvidia.com/hopper"}};
  config.mig_rules = {{"1g.*", "nvidia.com/small"}};
  EXPECT_THAT(sample::plan(sample::gpus(1), config)->warnings,
              UnorderedElementsAre(HasSubstr("resources.gpus[0].pattern 'H100*'"),
                                   HasSubstr("resources.mig has no effect")));
  EXPECT_THAT(sample::plan(sample::gpus(0), config)->warnings, IsEmpty());
}

// --- health ---------------------------------------------------------------------------------

TEST(Health, AnUnhealthyGpuTakesEveryReplicaAndMigSiblingWithIt) {
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1),
                                      sample::mig_gpu(2, {"1g.10gb", "1g.10gb"})};
  gpus[1].unhealthy = gpus[2].unhealthy = inventory::Unhealthy{"xid", "Xid 79", 0};
  config::Config config = sample::shared(3);
  config.mig_strategy = config::MigStrategy::kMixed;
  const PlanPtr plan = sample::plan(sample::node(gpus), config);
  for (const Device& device : find_resource(*plan, "nvidia.com/gpu")->devices) {
    EXPECT_EQ(device.healthy, device.gpu == 0) << device.id;
    EXPECT_EQ(device.unhealthy_reason, device.gpu == 0 ? "" : "Xid 79");
  }
  for (const Device& device : find_resource(*plan, "nvidia.com/mig-1g.10gb")->devices) {
    EXPECT_FALSE(device.healthy);
  }
}

TEST(Health, AnUnhealthyMigDeviceTakesOnlyItsOwnReplicas) {
  inventory::Gpu gpu = sample::mig_gpu(0, {"1g.10gb", "1g.10gb"});
  gpu.mig_devices[1].unhealthy = inventory::Unhealthy{"xid", "", 0};
  config::Config config = sample::shared(2, "nvidia.com/mig-1g.10gb");
  config.mig_strategy = config::MigStrategy::kMixed;
  const PlanPtr plan = sample::plan(sample::node({gpu}), config);
  for (const Device& device : plan->resources.at(0).devices) {
    EXPECT_EQ(device.healthy, device.mig == 0u) << device.id;
  }
  EXPECT_EQ(plan->resources[0].devices[3].unhealthy_reason, "xid");
}

TEST(Health, NothingIsHealthyWhileTheDriverDoesNotAnswer) {
  inventory::Snapshot snapshot = *sample::gpus(2);
  snapshot.driver.state = inventory::DriverState::kStuck;
  snapshot.driver.detail = "nvmlDeviceGetMemoryInfo_v2 has not returned for 10 s";
  const PlanPtr plan = sample::plan(std::make_shared<const inventory::Snapshot>(snapshot));
  for (const Device& device : plan->resources.at(0).devices) {
    EXPECT_FALSE(device.healthy);
    EXPECT_THAT(device.unhealthy_reason, HasSubstr("has not returned"));
  }
}

TEST(Health, GpusThatCannotBeToldApartAreLeftOutWithAWarning) {
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1), sample::gpu(2)};
  gpus[1].uuid.clear();
  gpus[1].unhealthy = inventory::Unhealthy{"query_failed", "cannot read the UUID", 0};
  gpus[2].uuid = gpus[0].uuid;
  const PlanPtr plan = sample::plan(sample::node(gpus));
  EXPECT_THAT(sample::ids(plan->resources.at(0)), ElementsAre(uuid(0)));
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("has no UUID and is not advertised: cannot"),
                                          HasSubstr("has the UUID of another device")));
}

// --- MPS ------------------------------------------------------------------------------------

config::Config by_mps(unsigned replicas) {
  config::Config config = sample::shared(replicas);
  config.sharing_strategy = config::SharingStrategy::kMps;
  return config;
}

struct ClientsRow {
  int major, minor;
  unsigned replicas;
  const char* refused;  // null: served
};

TEST(Mps, ServesAsManyClientsAsTheComputeCapabilityAllows) {
  constexpr ClientsRow kRows[] = {
      {7, 5, 48, nullptr}, {7, 5, 49, "49 > 48"}, {9, 0, 48, nullptr},   {10, 3, 49, "49 > 48"},
      {7, 0, 16, nullptr}, {7, 0, 17, "17 > 16"}, {6, 1, 29, "29 > 16"}, {0, 0, 48, nullptr}};
  for (const ClientsRow& row : kRows) {
    inventory::Gpu gpu = sample::gpu(0);
    gpu.compute_major = row.major;
    gpu.compute_minor = row.minor;
    Result<Plan> plan = make_plan(sample::node({gpu}), by_mps(row.replicas), 1);
    ASSERT_EQ(plan.has_value(), row.refused == nullptr) << row.major << '.' << row.minor;
    if (plan) {
      EXPECT_THAT(plan->resources.at(0).devices, SizeIs(row.replicas));
      EXPECT_EQ(plan->resources[0].mps, (std::vector<MpsGpu>{{0, 0}}));
      continue;
    }
    EXPECT_EQ(plan.error().what,
              std::string("invalid MPS configuration: invalid device maximum allowed replicas "
                          "exceeded: ") +
                  row.refused);
    EXPECT_EQ(plan.error().subject, "sharing.mps.resources[0].replicas");
  }
}

TEST(Mps, IsRefusedForMigDevicesAndSaysWhere) {
  config::Config config = by_mps(2);
  config.mig_strategy = config::MigStrategy::kSingle;
  Result<Plan> plan = make_plan(sample::node({sample::mig_gpu(0, {"1g.10gb"})}), config, 1);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().what, "sharing using MPS is not supported for MIG devices");
  EXPECT_EQ(plan.error().subject, "sharing.mps.resources[0]");
}

TEST(Mps, MarksOnlyTheResourcesThatAreSharedByIt) {
  config::Config config = by_mps(2);
  config.sharing.resources[0].rename = "nvidia.com/gpu.shared";
  config.sharing.resources[0].devices = config::FirstDevices{1};
  const Plan plan = make_plan(sample::gpus(2), config, 1).value();
  EXPECT_THAT(find_resource(plan, "nvidia.com/gpu")->mps, IsEmpty());
  EXPECT_THAT(find_resource(plan, "nvidia.com/gpu.shared")->mps, SizeIs(1));
  EXPECT_THAT(sample::plan(sample::gpus(1), sample::shared(2))->resources[0].mps, IsEmpty());
}

TEST(Mps, RefusesLimitsThatCannotBeKept) {
  config::Config config = by_mps(2);
  config.sharing.resources[0].limits.memory_mib = 1ULL << 24;
  inventory::Gpu gpu = sample::gpu(0);
  gpu.memory_bytes = 24ULL << 30;
  EXPECT_EQ(make_plan(sample::node({gpu}), config, 1).error().subject,
            "sharing.mps.resources[0].limits.memory");
  config = by_mps(2);
  config.sharing.resources.push_back(config.sharing.resources[0]);
  config.sharing.resources[0].devices = config::FirstDevices{1};
  config.sharing.resources[1].limits.thread_percentage = 10;
  EXPECT_EQ(make_plan(sample::gpus(2), config, 1).error().subject,
            "sharing.mps.resources[1].limits.threadPercentage");
}

TEST(Mps, HoldsBackSharedDevicesAlone) {
  config::Config config = by_mps(2);
  config.sharing.resources[0].devices = config::FirstDevices{1};
  Plan plan = make_plan(sample::gpus(2), config, 1).value();
  hold_back(plan.resources.at(0), "no daemon");
  EXPECT_FALSE(plan.resources[0].devices[0].healthy);
  EXPECT_EQ(plan.resources[0].devices[1].unhealthy_reason, "no daemon");
  EXPECT_TRUE(plan.resources[0].devices[2].healthy);
}

}  // namespace
}  // namespace kerf::plan
