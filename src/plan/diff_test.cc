// Tests of what a reload has to touch.
#include "plan/diff.h"

#include <algorithm>
#include <rapidcheck.h>

#include "plan/sample_nodes.h"

#include <rapidcheck/gtest.h>

namespace kerf::plan {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Diff, IsEmptyBetweenEqualPlans) {
  EXPECT_TRUE(diff(*sample::plan(sample::gpus(2), sample::shared(4)),
                   *sample::plan(sample::gpus(2), sample::shared(4)))
                  .empty());
}

TEST(Diff, MoreReplicasAreANewListOfTheSameResource) {
  const Diff d = diff(*sample::plan(sample::gpus(2), sample::shared(4)),
                      *sample::plan(sample::gpus(2), sample::shared(10)));
  EXPECT_EQ(d, (Diff{{}, {}, {"nvidia.com/gpu"}, {}}));
}

TEST(Diff, ARenameRemovesOneResourceAndAddsAnother) {
  config::Config renamed = sample::shared(4);
  renamed.sharing.resources[0].rename = "nvidia.com/gpu.shared";
  const Diff d = diff(*sample::plan(sample::gpus(2), sample::shared(4)),
                      *sample::plan(sample::gpus(2), renamed));
  EXPECT_EQ(d, (Diff{{"nvidia.com/gpu.shared"}, {"nvidia.com/gpu"}, {}, {}}));
}

TEST(Diff, HealthIsANewListOfOnlyTheResourceConcerned) {
  config::Config config = sample::shared(2);
  config.mig_strategy = config::MigStrategy::kMixed;
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::mig_gpu(1, {"1g.10gb"})};
  const PlanPtr before = sample::plan(sample::node(gpus), config);
  gpus[1].unhealthy = inventory::Unhealthy{"xid", "Xid 79", 0};
  const Diff d = diff(*before, *sample::plan(sample::node(gpus), config));
  EXPECT_EQ(d, (Diff{{}, {}, {"nvidia.com/mig-1g.10gb"}, {}}));
}

TEST(Diff, SettingsOfAllocateChangeAnswersButNoList) {
  const PlanPtr before = sample::plan(sample::gpus(1), sample::shared(4));
  std::vector<config::Config> configs(5, sample::shared(4));
  configs[0].sharing.fail_requests_greater_than_one = true;
  configs[1].pass_device_specs = true;
  configs[2].allocation_policy = config::AllocationPolicy::kPacked;
  configs[3].device_id_strategy = config::DeviceIdStrategy::kIndex;
  configs[4].device_list_strategies = {config::DeviceListStrategy::kVolumeMounts};
  for (const config::Config& config : configs) {
    EXPECT_EQ(diff(*before, *sample::plan(sample::gpus(1), config)),
              (Diff{{}, {}, {}, {"nvidia.com/gpu"}}));
  }
}

TEST(Diff, SettingsThatConcernNobodyHereChangeNothing) {
  config::Config config = sample::shared(4);
  config.fail_on_init_error = false;
  EXPECT_TRUE(diff(*sample::plan(sample::gpus(1), sample::shared(4)),
                   *sample::plan(sample::gpus(1), config))
                  .empty());
}

TEST(Diff, LosingTheLastGpuRemovesTheResource) {
  EXPECT_THAT(diff(*sample::plan(sample::gpus(1)), *sample::plan(sample::gpus(0))).removed,
              ElementsAre("nvidia.com/gpu"));
}

// What a server does with a diff: keeps what it has, but for the resources named.
std::vector<Resource> apply(const Plan& before, const Diff& d, const Plan& after) {
  std::vector<Resource> now = before.resources;
  auto among = [](const std::vector<std::string>& names, const Resource& resource) {
    return std::find(names.begin(), names.end(), resource.name) != names.end();
  };
  std::erase_if(now, [&](const Resource& r) { return among(d.removed, r); });
  for (Resource& resource : now) {
    if (among(d.relisted, resource) || among(d.retuned, resource)) {
      resource = *find_resource(after, resource.name);
    }
  }
  for (const std::string& name : d.added) now.push_back(*find_resource(after, name));
  std::sort(now.begin(), now.end(),
            [](const Resource& a, const Resource& b) { return a.name < b.name; });
  return now;
}

PlanPtr arbitrary_plan() {
  std::vector<inventory::Gpu> gpus;
  const auto count = *rc::gen::inRange(0u, 5u);
  for (unsigned i = 0; i < count; ++i) {
    const auto kind = *rc::gen::inRange(0, 4);
    gpus.push_back(kind == 0   ? sample::mig_gpu(i, {"1g.10gb", "2g.20gb"})
                   : kind == 1 ? sample::gpu(i, "Tesla T4")
                               : sample::gpu(i));
    if (*rc::gen::inRange(0, 4) == 0) gpus.back().unhealthy = inventory::Unhealthy{"xid", "", 0};
  }
  config::Config config = sample::shared(*rc::gen::inRange(1u, 5u));
  config.mig_strategy = *rc::gen::element(config::MigStrategy::kNone, config::MigStrategy::kSingle,
                                          config::MigStrategy::kMixed);
  if (!config.sharing.resources.empty() && *rc::gen::arbitrary<bool>()) {
    config.sharing.resources[0].rename = "nvidia.com/gpu.shared";
  }
  if (*rc::gen::arbitrary<bool>()) config.gpu_rules = {{"*T4", "nvidia.com/t4"}};
  config.pass_device_specs = *rc::gen::arbitrary<bool>();
  config.sharing.fail_requests_greater_than_one = *rc::gen::arbitrary<bool>();
  return sample::plan(sample::node(std::move(gpus)), config);
}

RC_GTEST_PROP(Diff, AppliedToTheOldPlanGivesTheNewOne, ()) {
  const PlanPtr before = arbitrary_plan(), after = arbitrary_plan();
  const Diff d = diff(*before, *after);
  RC_ASSERT(apply(*before, d, *after) == after->resources);
  RC_ASSERT(diff(*before, *before).empty());
}

}  // namespace
}  // namespace kerf::plan
