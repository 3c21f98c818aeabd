// Tests of sharing entries: which devices they select, under which name, and what is refused.
#include "plan/sample_nodes.h"

namespace kerf::plan {
namespace {

using config::ByIndex;
using config::ByUuid;
using config::DeviceRef;
using sample::uuid;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

config::SharedResource entry(unsigned replicas, config::DeviceSelector devices,
                             std::optional<std::string> rename = {}) {
  config::SharedResource entry;
  entry.name = "nvidia.com/gpu";
  entry.rename = std::move(rename);
  entry.devices = std::move(devices);
  entry.replicas = replicas;
  return entry;
}

config::Config sharing(std::vector<config::SharedResource> entries) {
  config::Config config;
  config.sharing_strategy = config::SharingStrategy::kTimeSlicing;
  config.sharing.resources = std::move(entries);
  return config;
}

TEST(Sharing, RenamesWhatIsShared) {
  const PlanPtr plan = sample::plan(
      sample::gpus(1), sharing({entry(2, config::AllDevices{}, "nvidia.com/gpu.shared")}));
  ASSERT_THAT(plan->resources, SizeIs(1));
  EXPECT_EQ(plan->resources[0].name, "nvidia.com/gpu.shared");
  EXPECT_TRUE(plan->resources[0].shared);
}

TEST(Sharing, OneReplicaIsNotSharingAndRenamesNothing) {
  const PlanPtr plan = sample::plan(
      sample::gpus(1), sharing({entry(1, config::AllDevices{}, "nvidia.com/gpu.shared")}));
  EXPECT_EQ(plan->resources.at(0).name, "nvidia.com/gpu");
  EXPECT_THAT(sample::ids(plan->resources[0]), ElementsAre(uuid(0)));
  EXPECT_FALSE(plan->resources[0].shared);
}

TEST(Sharing, DevicesNotSelectedStayExclusiveUnderTheirOwnName) {
  const PlanPtr plan = sample::plan(
      sample::gpus(3),
      sharing({entry(2, std::vector<DeviceRef>{ByIndex{1, {}}}, "nvidia.com/gpu.shared")}));
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/gpu")), ElementsAre(uuid(0), uuid(2)));
  EXPECT_FALSE(find_resource(*plan, "nvidia.com/gpu")->shared);
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/gpu.shared")),
              ElementsAre(uuid(1) + "::0", uuid(1) + "::1"));
}

TEST(Sharing, WithoutARenameOneResourceHoldsWholeDevicesAndSlicesInOrder) {
  const PlanPtr plan =
      sample::plan(sample::gpus(3), sharing({entry(2, std::vector<DeviceRef>{ByUuid{uuid(1)}})}));
  ASSERT_THAT(plan->resources, SizeIs(1));
  EXPECT_TRUE(plan->resources[0].shared);
  EXPECT_THAT(sample::ids(plan->resources[0]),
              ElementsAre(uuid(0), uuid(1) + "::0", uuid(1) + "::1", uuid(2)));
}

TEST(Sharing, ACountTakesTheFirstDevices) {
  const PlanPtr plan =
      sample::plan(sample::gpus(3), sharing({entry(2, config::FirstDevices{2}, "nvidia.com/s")}));
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/gpu")), ElementsAre(uuid(2)));
  EXPECT_THAT(find_resource(*plan, "nvidia.com/s")->devices, SizeIs(4));
  EXPECT_THAT(plan->warnings, IsEmpty());
}

TEST(Sharing, ACountBeyondWhatIsThereSharesAllAndWarns) {
  const PlanPtr plan = sample::plan(sample::gpus(2), sharing({entry(2, config::FirstDevices{5})}));
  EXPECT_THAT(plan->resources.at(0).devices, SizeIs(4));
  EXPECT_THAT(plan->warnings,
              ElementsAre("sharing.timeSlicing.resources[0].devices asks for 5 devices of "
                          "nvidia.com/gpu but 2 are there."));
}

TEST(Sharing, MigDevicesAreSelectedByIndexAndUuid) {
  config::Config config = sharing({entry(
      3, std::vector<DeviceRef>{ByIndex{0, 1}, ByUuid{uuid(100, "MIG")}}, "nvidia.com/mig.s")});
  config.sharing.resources[0].name = "nvidia.com/mig-1g.10gb";
  config.mig_strategy = config::MigStrategy::kMixed;
  const PlanPtr plan =
      sample::plan(sample::node({sample::mig_gpu(0, {"1g.10gb", "1g.10gb", "1g.10gb"})}), config);
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/mig-1g.10gb")),
              ElementsAre(uuid(102, "MIG")));
  EXPECT_THAT(find_resource(*plan, "nvidia.com/mig.s")->devices, SizeIs(6));
}

TEST(Sharing, GpusAreSelectedByPciAddressAndByModel) {
  std::vector<inventory::Gpu> list = {sample::gpu(0), sample::gpu(1, "NVIDIA A100-PCIE-40GB"),
                                      sample::gpu(2)};
  for (inventory::Gpu& gpu : list) gpu.pci_bus_id = "0000:0" + std::to_string(gpu.index) + ":00.0";
  const PlanPtr plan = sample::plan(
      sample::node(list),
      sharing({entry(2, std::vector<DeviceRef>{config::ByPci{"0000:02:00.0"}}, "nvidia.com/two"),
               entry(3, std::vector<DeviceRef>{config::ByModel{"*3090*"}}, "nvidia.com/three")}));
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/two")),
              ElementsAre(uuid(2) + "::0", uuid(2) + "::1"));
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/three")),
              ElementsAre(uuid(0) + "::0", uuid(0) + "::1", uuid(0) + "::2"));
  EXPECT_THAT(sample::ids(*find_resource(*plan, "nvidia.com/gpu")), ElementsAre(uuid(1)));
  EXPECT_THAT(plan->warnings, IsEmpty());
}

TEST(Sharing, APciAddressOrModelThatIsNotThereIsNamed) {
  const PlanPtr plan = sample::plan(
      sample::gpus(1), sharing({entry(2, std::vector<DeviceRef>{config::ByPci{"0000:02:00.0"},
                                                                config::ByModel{"*H100*"}})}));
  EXPECT_THAT(plan->warnings,
              ElementsAre(HasSubstr("PCI address: 0000:02:00.0"), HasSubstr("model: *H100*")));
}

TEST(Sharing, UuidsMatchWithoutDashesAndInAnyCase) {
  inventory::Gpu gpu = sample::gpu(0);
  gpu.uuid = "GPU-00000000-0000-0000-0000-0000000000af";
  const PlanPtr plan = sample::plan(
      sample::node({gpu}),
      sharing({entry(2, std::vector<DeviceRef>{ByUuid{"GPU-000000000000000000000000000000AF"}})}));
  EXPECT_THAT(plan->resources.at(0).devices, SizeIs(2));
  EXPECT_THAT(plan->warnings, IsEmpty());
}

TEST(Sharing, SelectorsThatMatchNothingAreNamed) {
  const PlanPtr plan = sample::plan(
      sample::gpus(1),
      sharing({entry(2, std::vector<DeviceRef>{ByUuid{"GPU-x"}, ByIndex{7, {}}, ByIndex{0, 2}})}));
  EXPECT_THAT(sample::ids(plan->resources.at(0)), ElementsAre(uuid(0)));
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("no matching device with UUID: GPU-x"),
                                          HasSubstr("no matching device at index: 7"),
                                          HasSubstr("no matching device at index: 0:2")));
}

TEST(Sharing, AnEntryForAResourceThatIsNotThereIsAWarning) {
  config::Config config = sample::shared(2, "nvidia.com/mig-1g.5gb");
  EXPECT_THAT(sample::plan(sample::gpus(1), config)->warnings,
              ElementsAre("sharing.timeSlicing.resources[0].name: this node has no device that is "
                          "nvidia.com/mig-1g.5gb."));
  EXPECT_THAT(sample::plan(sample::gpus(0), config)->warnings, IsEmpty());
}

TEST(Sharing, ADeviceFollowsTheFirstEntryThatSelectsIt) {
  const PlanPtr plan = sample::plan(
      sample::gpus(3),
      sharing({entry(4, std::vector<DeviceRef>{ByIndex{1, {}}}), entry(2, config::AllDevices{}),
               entry(8, std::vector<DeviceRef>{ByIndex{0, {}}})}));
  EXPECT_THAT(plan->resources.at(0).devices, SizeIs(2 + 4 + 2));
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("resources[2].devices: " + uuid(0) +
                                                    " follows an entry above")));
}

TEST(Sharing, TwoTiersMayHaveOneName) {
  const PlanPtr plan = sample::plan(
      sample::gpus(2), sharing({entry(4, std::vector<DeviceRef>{ByIndex{1, {}}}, "nvidia.com/s"),
                                entry(2, config::AllDevices{}, "nvidia.com/s")}));
  ASSERT_THAT(plan->resources, SizeIs(1));
  EXPECT_THAT(plan->resources[0].devices, SizeIs(6));
  EXPECT_EQ(plan->resources[0].devices[0].gpu, 0u);
}

TEST(Sharing, ARenameThatMixesKindsOfDevicesIsRefused) {
  const auto snapshot = sample::node({sample::gpu(0), sample::mig_gpu(1, {"1g.10gb", "2g.20gb"})});
  config::Config config = sharing({entry(2, config::AllDevices{}, "nvidia.com/mig-1g.10gb")});
  config.mig_strategy = config::MigStrategy::kMixed;
  Result<Plan> plan = make_plan(snapshot, config, 1);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, Kind::kConflict);
  EXPECT_EQ(plan.error().subject, "sharing.timeSlicing.resources[0].rename");

  config = sharing({entry(2, config::AllDevices{}, "nvidia.com/s"),
                    entry(2, config::AllDevices{}, "nvidia.com/s")});
  config.mig_strategy = config::MigStrategy::kMixed;
  config.sharing.resources[1].name = "nvidia.com/mig-2g.20gb";
  plan = make_plan(snapshot, config, 1);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().subject, "sharing.timeSlicing.resources[1].rename");
}

TEST(Sharing, RefusesMoreReplicasThanOneListMessageHolds) {
  for (unsigned replicas : {100'000u, 4'000'000'000u}) {
    Result<Plan> plan = make_plan(sample::gpus(8), sample::shared(replicas), 1);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().kind, Kind::kInvalid);
    EXPECT_EQ(plan.error().subject, "sharing.timeSlicing.resources[0].replicas");
  }
  EXPECT_TRUE(make_plan(sample::gpus(16), sample::shared(1000), 1));
}

TEST(Sharing, TheLimitOfOneIsForSharedResourcesOnly) {
  config::Config config =
      sharing({entry(2, std::vector<DeviceRef>{ByIndex{0, {}}}, "nvidia.com/gpu.shared")});
  config.sharing.fail_requests_greater_than_one = true;
  const PlanPtr plan = sample::plan(sample::gpus(2), config);
  EXPECT_TRUE(find_resource(*plan, "nvidia.com/gpu.shared")->fail_requests_greater_than_one);
  EXPECT_FALSE(find_resource(*plan, "nvidia.com/gpu")->fail_requests_greater_than_one);
}

}  // namespace
}  // namespace kerf::plan
