#include "usage/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::usage {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;

inventory::Snapshot two_gpus() {
  inventory::Snapshot out;
  out.gpus.resize(2);
  out.gpus[0].uuid = "GPU-a";
  out.gpus[0].memory_bytes = 24 * kGiB;
  out.gpus[1].uuid = "GPU-b";
  out.gpus[1].mig_enabled = true;
  inventory::MigDevice mig;
  mig.uuid = "MIG-1";
  mig.memory_mib = 10240;
  mig.gpu_instance = 7;
  mig.compute_slices = 1;
  out.gpus[1].mig_devices = {mig};
  return out;
}

pods::PodDevice held(const std::string& pod, const std::string& uuid, const std::string& gpu,
                     std::map<std::string, std::string> annotations = {}) {
  pods::PodDevice out;
  out.owner = {"ml", pod, "main"};
  out.uuid = uuid;
  out.gpu_uuid = gpu;
  auto facts = std::make_shared<pods::PodFacts>();
  facts->uid = "u-" + pod;
  facts->annotations = std::move(annotations);
  out.facts = facts;
  return out;
}

TEST(Layouts, AddUpTheSharesThatAContainerHoldsOfOneDevice) {
  const std::vector<pods::PodDevice> devices = {
      held("a", "GPU-a", "GPU-a"), held("a", "GPU-a", "GPU-a"), held("b", "GPU-a", "GPU-a"),
      held("c", "MIG-1", "GPU-b"), held("d", "GPU-x", "GPU-x")};
  auto layouts = layouts_of(two_gpus(), {{"GPU-a", 4}}, devices, true);
  ASSERT_EQ(layouts.size(), 2U);
  const Layout& whole = layouts.at("GPU-a");
  ASSERT_EQ(whole.holdings.size(), 2U);
  EXPECT_EQ(whole.holdings[0].shares, 2U);
  EXPECT_EQ(whole.holdings[0].of, 4U);
  EXPECT_EQ(whole.holdings[0].uid, "u-a");
  EXPECT_EQ(whole.holdings[1].shares, 1U);
  EXPECT_FALSE(whole.mig);
  const Layout& cut = layouts.at("GPU-b");
  EXPECT_TRUE(cut.mig);
  ASSERT_EQ(cut.devices.size(), 1U);
  EXPECT_EQ(cut.devices[0].memory_bytes, 10 * kGiB);
  ASSERT_EQ(cut.holdings.size(), 1U);
  EXPECT_EQ(cut.holdings[0].of, 1U) << "not shared";
}

TEST(Layouts, KnowHowManySlicesAModelHas) {
  struct Row {
    const char* model;
    unsigned slices;
  };
  for (const Row& row :
       {Row{"NVIDIA A100-SXM4-40GB", 7}, Row{"NVIDIA A100-SXM4-80GB", 7},
        Row{"NVIDIA A100-PCIE-40GB", 7}, Row{"NVIDIA A100 80GB PCIe", 7}, Row{"NVIDIA A30", 4},
        Row{"NVIDIA A30-24C", 4}, Row{"A30", 4}, Row{"NVIDIA H100 80GB HBM3", 7},
        Row{"NVIDIA H100 NVL", 7}, Row{"NVIDIA H200", 7}, Row{"NVIDIA B200", 7},
        Row{"NVIDIA GB200", 7}, Row{"NVIDIA A300", 7}, Row{"NVIDIA GA30", 7},
        Row{"NVIDIA RTX PRO 6000 Blackwell Server Edition", 4}, Row{"", 7}}) {
    EXPECT_EQ(compute_slices(row.model), row.slices) << row.model;
    inventory::Snapshot node = two_gpus();
    node.gpus[1].name = row.model;
    EXPECT_EQ(layouts_of(node, {}, {}, true).at("GPU-b").slices, row.slices) << row.model;
    EXPECT_EQ(layouts_of(node, {}, {}, true).at("GPU-a").slices, 0U) << "not cut";
    node.gpus[1].mig_devices[0].compute_slices = 8;
    EXPECT_EQ(layouts_of(node, {}, {}, true).at("GPU-b").slices, 8U) << "not fewer than there are";
  }
}

TEST(Layouts, NeverGiveAContainerMoreThanThereIs) {
  const std::vector<pods::PodDevice> devices = {held("a", "GPU-a", "GPU-a"),
                                                held("a", "GPU-a", "GPU-a")};
  // The plan has become smaller, the pod is from before.
  auto layouts = layouts_of(two_gpus(), {}, devices, true);
  EXPECT_EQ(layouts.at("GPU-a").holdings[0].of, 2U);
}

TEST(Layouts, TakeQuotasFromAnnotationsWhereTheyMay) {
  struct Row {
    std::map<std::string, std::string> annotations;
    std::optional<std::uint64_t> quota;
  };
  const std::vector<Row> table = {
      {{}, {}},
      {{{"kerf/gpu-memory", "10Gi"}}, 10 * kGiB},
      {{{"kerf/gpu-memory", "10Gi"}, {"kerf/gpu-memory.main", "2Gi"}}, 2 * kGiB},
      {{{"kerf/gpu-memory.side", "2Gi"}}, {}},
      {{{"kerf/gpu-memory", "a lot"}}, {}},
  };
  for (const Row& row : table) {
    const std::vector<pods::PodDevice> devices = {held("a", "GPU-a", "GPU-a", row.annotations)};
    EXPECT_EQ(layouts_of(two_gpus(), {}, devices, true).at("GPU-a").holdings[0].quota_bytes,
              row.quota);
    EXPECT_EQ(layouts_of(two_gpus(), {}, devices, false).at("GPU-a").holdings[0].quota_bytes,
              std::nullopt);
  }
}

}  // namespace
}  // namespace kerf::usage
