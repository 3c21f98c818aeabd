#include "agent/usage_view.h"

#include "agent/memory_police.h"
#include "agent/pod_actions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kerf::agent {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr std::uint64_t kGiB = 1ULL << 30;
const usage::Key kKey{{"ml", "a", "main"}, "GPU-a"};

inventory::Snapshot one_gpu() {
  inventory::Snapshot out;
  out.gpus.resize(1);
  out.gpus[0].uuid = "GPU-a";
  out.gpus[0].index = 3;
  return out;
}

usage::Layout layout() {
  usage::Layout out;
  out.uuid = "GPU-a";
  out.devices = {{"GPU-a", 24 * kGiB, {}, {}, 0}};
  out.holdings = {{kKey.owner, "u-1", "GPU-a", 1, 4, {}}};
  return out;
}

usage::GpuFigures figures(std::int64_t second, std::uint64_t gib) {
  usage::GpuFigures out;
  out.uuid = "GPU-a";
  out.mono_ms = second * 1000;
  out.wall_ms = second * 1000;
  out.busy_percent = 50;
  out.power_mw = 200'000;
  out.memory_used = 20 * kGiB;
  out.memory_total = 24 * kGiB;
  out.processes_known = true;
  out.processes.resize(1);
  out.processes[0].owner = kKey.owner;
  out.processes[0].bytes = gib * kGiB;
  out.processes[0].sm_percent = 50;
  return out;
}

TEST(UsageFamilies, CarryTheNamesOfTheContainerAndOfItsDevice) {
  usage::Account account;
  account.add(figures(10, 8), layout());
  account.add(figures(20, 8), layout());
  const std::string text = metrics::render(usage_families(account, one_gpu(), {kKey}));
  const std::string labels = R"({namespace="ml",pod="a",container="main",gpu="3",UUID="GPU-a"} )";
  EXPECT_THAT(text, HasSubstr("kerf_pod_gpu_memory_bytes" + labels + "8589934592\n"));
  EXPECT_THAT(text, HasSubstr("kerf_pod_gpu_memory_limit_bytes" + labels + "6442450944\n"));
  EXPECT_THAT(text, HasSubstr("kerf_pod_gpu_memory_over_limit" + labels + "1\n"));
  EXPECT_THAT(text, HasSubstr("kerf_pod_gpu_utilization_ratio" + labels + "0.5\n"));
  EXPECT_THAT(text, HasSubstr("kerf_pod_gpu_busy_seconds_total" + labels + "5\n"));
  EXPECT_THAT(text, HasSubstr("kerf_pod_gpu_held_seconds_total" + labels + "2.5\n"));
  EXPECT_THAT(text, HasSubstr("kerf_gpu_energy_joules_total{gpu=\"3\",uuid=\"GPU-a\"} 2000\n"));
  EXPECT_THAT(text, HasSubstr("share=\"other\"} 12884901888\n"));
}

TEST(UsageFamilies, AreTheSameWhateverIsKnown) {
  const auto names = [](const std::vector<metrics::Family>& families) {
    std::vector<std::string> out;
    for (const metrics::Family& family : families) out.push_back(family.name);
    return out;
  };
  usage::Account account;
  const auto before = names(usage_families(account, one_gpu(), {}));
  account.add(figures(10, 8), layout());
  EXPECT_EQ(names(usage_families(account, one_gpu(), {})), before);
}

TEST(UsageHistoryOfAGpu, IsBoundedAndHasGaps) {
  usage::Account account;
  account.add(figures(10, 8), layout());
  UsageHistory history;
  for (int i = 0; i < 500; ++i) {
    history.add("GPU-a", i % 2 == 0 ? &account.gpus().at("GPU-a") : nullptr);
  }
  metrics::GpuUse use;
  history.describe("GPU-a", use);
  ASSERT_EQ(use.power.size(), UsageHistory::kPoints);
  EXPECT_EQ(use.power[0], 200.0);
  EXPECT_EQ(use.power[1], std::nullopt);
  history.keep_only({});
  metrics::GpuUse none;
  history.describe("GPU-a", none);
  EXPECT_TRUE(none.power.empty());
}

TEST(UsageOnThePage, LeavesOutContainersThatAreGone) {
  usage::Account account;
  account.add(figures(10, 8), layout());
  metrics::NodeStatus node;
  node.gpus.resize(1);
  node.gpus[0].uuid = "GPU-a";
  describe_usage(account, UsageHistory(), {kKey}, 5000, node);
  ASSERT_TRUE(node.gpus[0].use);
  ASSERT_EQ(node.gpus[0].use->pods.size(), 1U);
  EXPECT_TRUE(node.gpus[0].use->pods[0].over_limit);
  EXPECT_EQ(node.gpus[0].use->interval_ms, 5000);
  usage::Layout free = layout();
  free.holdings.clear();
  usage::GpuFigures idle = figures(20, 0);
  idle.processes.clear();
  account.add(idle, free);
  describe_usage(account, UsageHistory(), {}, 5000, node);
  EXPECT_TRUE(node.gpus[0].use->pods.empty());
  EXPECT_EQ(account.uses().size(), 1U) << "its counters stay";
}

TEST(PodEvents, AreAboutThePodAndItsContainer) {
  const PodRef pod{"ml", "a", "u-1", "main"};
  const json event = json::parse(pod_event_body(pod, "GPUMemoryOverShare", "text \"\n", true, "n1",
                                                "kerf", 1'700'000'000'000));
  EXPECT_EQ(event["metadata"]["namespace"], "ml");
  EXPECT_EQ(event["involvedObject"]["kind"], "Pod");
  EXPECT_EQ(event["involvedObject"]["uid"], "u-1");
  EXPECT_EQ(event["involvedObject"]["fieldPath"], "spec.containers{main}");
  EXPECT_EQ(event["message"], "text \"\n");
  EXPECT_EQ(event["firstTimestamp"], "2023-11-14T22:13:20Z");
  const json long_one = json::parse(
      pod_event_body({"ml", "a", "", ""}, "R", std::string(5000, 'x'), false, "n1", "kerf", 0));
  EXPECT_LE(long_one["message"].get<std::string>().size(), 1024U);
  EXPECT_FALSE(long_one["involvedObject"].contains("uid"));
}

TEST(Evictions, AreOfThisPodAndNoOtherOfItsName) {
  const json eviction = json::parse(eviction_body({"ml", "a", "u-1", "main"}));
  EXPECT_EQ(eviction["apiVersion"], "policy/v1");
  EXPECT_EQ(eviction["metadata"]["name"], "a");
  EXPECT_EQ(eviction["deleteOptions"]["preconditions"]["uid"], "u-1");
}

TEST(MemoryBreaches, AreToldInFigures) {
  usage::Standing standing;
  standing.bytes = 8 * kGiB;
  standing.limit_bytes = 6 * kGiB;
  EXPECT_EQ(breach_text(kKey, standing),
            "uses 8.0 GiB of GPU-a, 2.0 GiB above its fair share of 6.0 GiB");
  standing.has_quota = true;
  EXPECT_THAT(breach_text(kKey, standing), HasSubstr("its quota of"));
}

TEST(MemoryBreaches, AreNotedOnceWhenConfiguredSo) {
  std::vector<std::string> notes;
  MemoryPolice police(nullptr, [&notes](metrics::EventLevel, std::string text) {
    notes.push_back(std::move(text));
  });
  config::UsageOptions options;
  options.over_share = config::OverShare::kEvent;
  options.window_ns = 1'000'000'000;
  police.configure(options);
  usage::Account account;
  for (std::int64_t second = 10; second < 20; ++second) {
    account.add(figures(second, 8), layout());
    police.look(account.uses(), second * 1000);
  }
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], HasSubstr("ml/a (main) uses 8.0 GiB"));
  EXPECT_EQ(police.over(), OverLimit{kKey});
}

}  // namespace
}  // namespace kerf::agent
