#include "agent/node.h"

namespace kerf::agent {
namespace {

config::Effective effective(unsigned replicas) {
  config::Effective out = config::evaluate_file(
      "version: v1\nsharing:\n  timeSlicing:\n    resources:\n    - name: nvidia.com/gpu\n"
      "      replicas: " +
          std::to_string(replicas) + "\n",
      "config.yaml");
  EXPECT_TRUE(out.ok());
  return out;
}

inventory::SnapshotPtr machine(unsigned gpus) {
  auto snapshot = std::make_shared<inventory::Snapshot>();
  snapshot->driver.state = inventory::DriverState::kReady;
  for (unsigned i = 0; i < gpus; ++i) {
    inventory::Gpu gpu;
    gpu.index = i;
    gpu.uuid = "GPU-" + std::to_string(i);
    gpu.name = "NVIDIA GeForce RTX 3090";
    snapshot->gpus.push_back(gpu);
  }
  return snapshot;
}

std::size_t devices(const Node& node) {
  return node.plan() && !node.plan()->resources.empty() ? node.plan()->resources[0].devices.size()
                                                        : 0;
}

class NodeTest : public testing::Test {
 protected:
  ManualClock clock_;
  Node node_{clock_, "0.1.0"};
};

TEST_F(NodeTest, HoldsBackWhatMpsSharesUntilItsGateIsOpen) {
  bool open = false;
  node_.set_gate([&](const std::string& resource) -> std::optional<Error> {
    EXPECT_EQ(resource, "nvidia.com/gpu");
    if (open) return std::nullopt;
    return Error{Kind::kNotFound, "no daemon", "", "start one", 0};
  });
  config::Effective by_mps = effective(4);
  by_mps.config.sharing_strategy = config::SharingStrategy::kMps;
  ASSERT_TRUE(node_.configure(by_mps, "config.yaml"));
  node_.observe(machine(1));
  ASSERT_EQ(devices(node_), 4u);
  EXPECT_FALSE(node_.plan()->resources[0].devices[0].healthy);
  EXPECT_FALSE(node_.status().problems.empty());
  EXPECT_FALSE(node_.ask_gate());
  open = true;
  EXPECT_TRUE(node_.ask_gate());
  EXPECT_TRUE(node_.plan()->resources[0].devices[0].healthy);
  EXPECT_TRUE(node_.status().problems.empty());
}

TEST_F(NodeTest, PlansOnceBothConfigurationAndInventoryAreKnown) {
  ASSERT_TRUE(node_.configure(effective(4), "config.yaml"));
  EXPECT_EQ(node_.plan(), nullptr);
  EXPECT_FALSE(node_.status().started);
  node_.observe(machine(2));
  EXPECT_EQ(devices(node_), 8u);
  EXPECT_TRUE(node_.status().started);
}

TEST_F(NodeTest, FollowsAConfigurationAndCountsIt) {
  ASSERT_TRUE(node_.configure(effective(4), "config.yaml"));
  node_.observe(machine(2));
  ASSERT_TRUE(node_.configure(effective(10), "config.yaml"));
  EXPECT_EQ(devices(node_), 20u);
  EXPECT_EQ(node_.config_stats().reloads, 1u);
}

TEST_F(NodeTest, KeepsTheLastGoodConfigurationAndSaysWhatWasWrong) {
  ASSERT_TRUE(node_.configure(effective(4), "config.yaml"));
  node_.observe(machine(2));
  node_.refuse(Error{Kind::kInvalid, "number of replicas must be >= 2", "config.yaml:6:17", "", 0});
  EXPECT_EQ(devices(node_), 8u);
  EXPECT_EQ(node_.config_stats().failures, 1u);
  EXPECT_FALSE(node_.config_stats().last_ok);
  metrics::NodeStatus status = node_.status();
  EXPECT_NE(status.config.last_error.find("config.yaml:6:17"), std::string::npos);
  ASSERT_TRUE(node_.configure(effective(5), "config.yaml"));
  EXPECT_TRUE(node_.status().config.last_error.empty());
}

TEST_F(NodeTest, AConfigurationThatCannotBePlannedChangesNothing) {
  ASSERT_TRUE(node_.configure(effective(4), "config.yaml"));
  node_.observe(machine(16));
  config::Effective absurd = effective(4);
  absurd.config.sharing.resources[0].replicas = 1'000'000;  // more than one message can carry
  EXPECT_FALSE(node_.configure(absurd, "config.yaml"));
  EXPECT_EQ(devices(node_), 64u);
  EXPECT_EQ(node_.effective().config.sharing.resources[0].replicas, 4u);
}

TEST_F(NodeTest, RemembersWhoHoldsWhatUntilTheKubeletSaysItIsFree) {
  ASSERT_TRUE(node_.configure(effective(2), "config.yaml"));
  node_.observe(machine(1));
  node_.allocated("nvidia.com/gpu", std::vector<std::string_view>{"GPU-0::1"}, nullptr);
  EXPECT_EQ(node_.status().resources[0].in_use, 1u);
  node_.available("nvidia.com/gpu", std::vector<std::string_view>{"GPU-0::0", "GPU-0::1"});
  EXPECT_EQ(node_.status().resources[0].in_use, 0u);
}

TEST_F(NodeTest, ARefusedAllocationIsAnEventAndNoUse) {
  ASSERT_TRUE(node_.configure(effective(2), "config.yaml"));
  node_.observe(machine(1));
  Error error{Kind::kInvalid, "maximum request size for shared resources is 1; found 2", "", "", 0};
  node_.allocated("nvidia.com/gpu", std::vector<std::string_view>{"GPU-0::0", "GPU-0::1"}, &error);
  EXPECT_FALSE(node_.any_in_use());
  EXPECT_NE(node_.status().events.back().text.find("maximum request size"), std::string::npos);
}

TEST_F(NodeTest, KeepsABoundedListOfEvents) {
  for (int i = 0; i < 1000; ++i) node_.note(metrics::EventLevel::kInfo, std::to_string(i));
  metrics::NodeStatus status = node_.status();
  ASSERT_EQ(status.events.size(), metrics::kMaxEvents);
  EXPECT_EQ(status.events.back().text, "999");
}

TEST_F(NodeTest, ShrinkingForgetsSlicesThatNoLongerExist) {
  ASSERT_TRUE(node_.configure(effective(4), "config.yaml"));
  node_.observe(machine(1));
  node_.allocated("nvidia.com/gpu", std::vector<std::string_view>{"GPU-0::3"}, nullptr);
  ASSERT_TRUE(node_.configure(effective(2), "config.yaml"));
  EXPECT_FALSE(node_.any_in_use());
}

}  // namespace
}  // namespace kerf::agent
