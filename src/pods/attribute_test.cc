#include "pods/attribute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::pods {
namespace {

using testing::ElementsAre;
using testing::Field;

DeviceId uuid(std::string text, std::optional<unsigned> replica = {}) {
  DeviceId out;
  out.uuid = std::move(text);
  out.replica = replica;
  return out;
}

DeviceId node(unsigned gpu, std::optional<unsigned> gi = {}, std::optional<unsigned> replica = {}) {
  DeviceId out;
  out.gpu = gpu;
  out.gpu_instance = gi;
  out.replica = replica;
  return out;
}

TEST(DeviceIds, OfEveryPluginAreUnderstood) {
  DeviceId old_mig = uuid("GPU-5a");
  old_mig.gpu_instance = 7;
  old_mig.compute_instance = 0;
  DeviceId old_mig_shared = old_mig;
  old_mig_shared.replica = 2;
  DeviceId numbered;
  numbered.gpu = 0;
  numbered.mig = 1;
  const std::vector<std::pair<std::string, std::optional<DeviceId>>> table = {
      {"GPU-5a", uuid("GPU-5a")},
      {"GPU-5a::0", uuid("GPU-5a", 0)},
      {"GPU-5a::17", uuid("GPU-5a", 17)},
      {"MIG-77", uuid("MIG-77")},
      {"MIG-77::3", uuid("MIG-77", 3)},
      {"MIG-GPU-5a/7/0", old_mig},
      {"MIG-GPU-5a/7/0::2", old_mig_shared},
      {"nvidia0", node(0)},
      {"nvidia12/gi0", node(12, 0)},
      {"nvidia0/vgpu1", node(0, {}, 1)},
      {"nvidia0/gi3/vgpu2", node(0, 3, 2)},
      {"4", node(4)},
      {"4::1", node(4, {}, 1)},
      {"0:1", numbered},
      // What is none.
      {"", {}},
      {"GPU-", {}},
      {"GPU-5a::", {}},
      {"GPU-5a::x", {}},
      {"GPU-5a::1x", {}},
      {"GPU-5a::01", {}},
      {"GPU-5a::-1", {}},
      {"GPU-5a::99999999999", {}},
      {"MIG-GPU-5a", {}},
      {"MIG-GPU-5a/7", {}},
      {"MIG-GPU-5a/7/0/1", {}},
      {"MIG-GPU-5a/x/0", {}},
      {"nvidia", {}},
      {"nvidia0/", {}},
      {"nvidia0/gi", {}},
      {"nvidia0/vgpu1/gi0", {}},
      {"nvidiactl", {}},
      {"0:", {}},
      {"0:1:2", {}},
      {"tpu-0", {}},
  };
  for (const auto& [text, expected] : table) EXPECT_EQ(parse_device_id(text), expected) << text;
}

inventory::Snapshot node_with_mig() {
  inventory::Snapshot out;
  for (unsigned index : {0U, 1U}) {
    inventory::Gpu gpu;
    gpu.index = index;
    gpu.uuid = index == 0 ? "GPU-a" : "GPU-b";
    out.gpus.push_back(gpu);
  }
  inventory::MigDevice mig;
  mig.uuid = "MIG-b1";
  mig.index = 0;
  mig.gpu_instance = 7;
  mig.compute_instance = 0;
  out.gpus[1].mig_devices.push_back(mig);
  mig.uuid = "MIG-b2";
  mig.index = 1;
  mig.gpu_instance = 8;
  out.gpus[1].mig_devices.push_back(mig);
  return out;
}

Pods holding(std::string resource, std::vector<std::string> ids) {
  Pods pods;
  pods.containers.push_back(
      {{"ml", "train-0", "main"}, {{std::move(resource), std::move(ids)}}, {}});
  return pods;
}

TEST(Attribution, FindsTheDeviceBehindEveryIdAndItsPhysicalGpu) {
  struct Row {
    std::string id, uuid, gpu_uuid;
    std::optional<unsigned> gpu_instance;
  };
  const std::vector<Row> table = {
      {"GPU-a", "GPU-a", "GPU-a", {}},
      {"GPU-b::3", "GPU-b", "GPU-b", {}},
      {"MIG-b2", "MIG-b2", "GPU-b", 8},
      {"MIG-b1::1", "MIG-b1", "GPU-b", 7},
      {"MIG-GPU-b/8/0", "MIG-b2", "GPU-b", 8},
      {"nvidia1/gi7", "MIG-b1", "GPU-b", 7},
      {"nvidia0/vgpu1", "GPU-a", "GPU-a", {}},
      {"1:1", "MIG-b2", "GPU-b", 8},
      {"0", "GPU-a", "GPU-a", {}},
  };
  for (const Row& row : table) {
    auto found = attribute(holding("nvidia.com/gpu", {row.id}), node_with_mig());
    ASSERT_EQ(found.size(), 1U) << row.id;
    EXPECT_EQ(found[0].uuid, row.uuid) << row.id;
    EXPECT_EQ(found[0].gpu_uuid, row.gpu_uuid) << row.id;
    EXPECT_EQ(found[0].gpu_instance, row.gpu_instance) << row.id;
    EXPECT_EQ(found[0].owner, (Owner{"ml", "train-0", "main"}));
    EXPECT_EQ(found[0].id, row.id);
  }
}

TEST(Attribution, LeavesOutWhatIsNoGpuOfThisNode) {
  auto snapshot = node_with_mig();
  EXPECT_THAT(
      attribute(holding("nvidia.com/gpu", {"GPU-c", "MIG-x", "2", "nvidia0/gi9"}), snapshot),
      ElementsAre());
  EXPECT_THAT(attribute(holding("example.com/nic", {"0", "1"}), snapshot), ElementsAre())
      << "numbers of somebody else's devices";
  EXPECT_THAT(attribute(holding("example.com/renamed", {"GPU-a::0"}), snapshot),
              ElementsAre(Field(&PodDevice::uuid, "GPU-a")))
      << "a resource may be named like anything";
}

TEST(Attribution, BringsWhatIsKnownOfThePod) {
  Pods pods = holding("nvidia.com/gpu", {"GPU-a"});
  auto facts = std::make_shared<PodFacts>();
  facts->name_space = "ml";
  facts->pod = "train-0";
  facts->uid = "u-1";
  pods.facts["u-1"] = facts;
  auto found = attribute(pods, node_with_mig());
  ASSERT_EQ(found.size(), 1U);
  ASSERT_NE(found[0].facts, nullptr);
  EXPECT_EQ(found[0].facts->uid, "u-1");
}

}  // namespace
}  // namespace kerf::pods
