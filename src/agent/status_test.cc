#include "agent/status.h"

namespace kerf::agent {
namespace {

// Two GPUs at `replicas` slices, built by hand so that the test needs no planner.
struct Node {
  std::shared_ptr<inventory::Snapshot> snapshot = std::make_shared<inventory::Snapshot>();
  plan::Plan plan;

  explicit Node(unsigned replicas) {
    snapshot->driver = {inventory::DriverState::kReady, "580.126.09", 13000, "libnvidia-ml.so.1",
                        ""};
    plan::Resource resource;
    resource.name = "nvidia.com/gpu";
    resource.shared = true;
    for (unsigned g = 0; g < 2; ++g) {
      inventory::Gpu gpu;
      gpu.index = g;
      gpu.uuid = "GPU-" + std::to_string(g);
      gpu.memory_bytes = 24576ull << 20;
      snapshot->gpus.push_back(gpu);
      for (unsigned r = 0; r < replicas; ++r) {
        plan::Device device;
        device.physical_id = gpu.uuid;
        device.id = gpu.uuid + "::" + std::to_string(r);
        device.gpu = g;
        device.replica = r;
        resource.devices.push_back(device);
      }
    }
    plan.resources.push_back(resource);
    plan.snapshot = snapshot;
  }
};

TEST(Status, ShowsEverySliceUnderItsGpu) {
  Node node(4);
  Ledger ledger;
  ledger.allocated(std::vector<std::string_view>{"GPU-1::2"}, 77);
  metrics::NodeStatus status;
  describe(*node.snapshot, node.plan, ledger, status);
  ASSERT_EQ(status.gpus.size(), 2u);
  EXPECT_EQ(status.gpus[0].slices.size(), 4u);
  EXPECT_EQ(status.gpus[0].in_use(), 0u);
  EXPECT_EQ(status.gpus[1].slices[2].use->since_ms, 77);
  EXPECT_EQ(status.gpus[1].memory_mib, 24576u);
  ASSERT_EQ(status.resources.size(), 1u);
  EXPECT_EQ(status.resources[0].total, 8u);
  EXPECT_EQ(status.resources[0].in_use, 1u);
  EXPECT_EQ(status.resources[0].replicas, 4u);
  EXPECT_EQ(status.resources[0].sharing, "time-slicing");
  EXPECT_EQ(status.driver.cuda, "13.0");
}

TEST(Status, NamesThePodThatHoldsASlice) {
  Node node(1);
  Ledger ledger;
  ledger.pod_resources(std::vector<ContainerDevices>{{"ml/train-0/main", {"GPU-0::0"}}}, 1, 2);
  metrics::NodeStatus status;
  describe(*node.snapshot, node.plan, ledger, status);
  const auto& use = status.gpus[0].slices[0].use;
  ASSERT_TRUE(use.has_value());
  EXPECT_EQ(use->pod_namespace, "ml");
  EXPECT_EQ(use->pod, "train-0");
  EXPECT_EQ(use->container, "main");
}

TEST(Status, KeepsAnOldPlanApartFromANewerSnapshot) {
  Node node(2);
  inventory::Snapshot newer;
  newer.gpus.push_back(node.snapshot->gpus[1]);  // GPU-0 is gone, GPU-1 moved up
  metrics::NodeStatus status;
  describe(newer, node.plan, Ledger(), status);
  ASSERT_EQ(status.gpus.size(), 1u);
  EXPECT_EQ(status.gpus[0].slices[0].id, "GPU-1::0");
  EXPECT_EQ(status.resources[0].total, 4u);
}

TEST(Status, WritesCudaVersionsAsPeopleDo) {
  EXPECT_EQ(cuda_text(12020), "12.2");
  EXPECT_EQ(cuda_text(0), "");
}

}  // namespace
}  // namespace kerf::agent
