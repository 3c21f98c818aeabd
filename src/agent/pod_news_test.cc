#include "agent/pod_news.h"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::agent {
namespace {

using inventory::Unhealthy;
using testing::ElementsAre;
using testing::IsEmpty;

const Unhealthy kXid{"xid", "Xid 94 on GPU-b: memory error", 5};
const Unhealthy kLost{"gpu_lost", "the GPU has fallen off the bus", 6};

inventory::Snapshot machine(std::optional<Unhealthy> a, std::optional<Unhealthy> b,
                            std::optional<Unhealthy> mig = {}) {
  inventory::Snapshot out;
  out.gpus.resize(2);
  for (unsigned i = 0; i < 2; ++i) {
    out.gpus[i].index = i;
    out.gpus[i].uuid = i == 0 ? "GPU-a" : "GPU-b";
    out.gpus[i].name = "NVIDIA A100";
    out.gpus[i].unhealthy = i == 0 ? a : b;
  }
  out.gpus[0].mig_devices.resize(1);
  out.gpus[0].mig_devices[0].uuid = "MIG-a";
  out.gpus[0].mig_devices[0].unhealthy = mig;
  return out;
}

pods::PodDevice holds(const std::string& pod, unsigned gpu, const std::string& uuid,
                      const std::string& uid = "u-1") {
  pods::PodDevice out;
  out.owner = {"ml", pod, "main"};
  auto facts = std::make_shared<pods::PodFacts>();
  facts->uid = uid;
  if (!uid.empty()) out.facts = facts;
  out.gpu = gpu;
  out.gpu_uuid = gpu == 0 ? "GPU-a" : "GPU-b";
  out.uuid = uuid;
  return out;
}

std::vector<std::string> heads(const std::vector<PodSaying>& said) {
  std::vector<std::string> out;
  for (const PodSaying& each : said) {
    out.push_back((each.warning ? "!" : "") + each.reason + " " + each.pod.name);
  }
  return out;
}

TEST(PodNews, TellsEachHolderOfAGpuOnceThatItIsUnhealthyAndOnceThatItIsWell) {
  PodNews news;
  const std::vector held{holds("x", 1, "GPU-b"), holds("y", 1, "GPU-b"), holds("z", 0, "GPU-a")};
  EXPECT_THAT(news.look(held, machine({}, {})), IsEmpty());
  const std::vector<PodSaying> said = news.look(held, machine({}, kXid));
  EXPECT_THAT(heads(said), ElementsAre("!GPUUnhealthy x", "!GPUUnhealthy y"));
  EXPECT_EQ(said[0].pod, (PodRef{"ml", "x", "u-1", "main"}));
  EXPECT_EQ(said[0].message,
            "GPU-b (GPU 1, NVIDIA A100), which this container holds, is unhealthy: "
            "Xid 94 on GPU-b: memory error");
  EXPECT_THAT(news.look(held, machine({}, kXid)), IsEmpty());
  EXPECT_THAT(heads(news.look(held, machine({}, kLost))),
              ElementsAre("!GPUUnhealthy x", "!GPUUnhealthy y"));
  EXPECT_THAT(heads(news.look(held, machine({}, {}))),
              ElementsAre("GPURecovered x", "GPURecovered y"));
  EXPECT_THAT(news.look(held, machine({}, {})), IsEmpty());
}

TEST(PodNews, ReachesHoldersThatBecomeKnownLater) {
  PodNews news;
  EXPECT_THAT(news.look({}, machine({}, kXid)), IsEmpty());
  EXPECT_THAT(news.look({holds("x", 1, "GPU-b", "")}, machine({}, kXid)), IsEmpty());
  EXPECT_THAT(heads(news.look({holds("x", 1, "GPU-b")}, machine({}, kXid))),
              ElementsAre("!GPUUnhealthy x"));
  // Another pod of the same name.
  EXPECT_THAT(heads(news.look({holds("x", 1, "GPU-b", "u-2")}, machine({}, kXid))),
              ElementsAre("!GPUUnhealthy x"));
  // Who is gone is told nothing more.
  EXPECT_THAT(news.look({}, machine({}, kXid)), IsEmpty());
  EXPECT_THAT(news.look({holds("x", 1, "GPU-b", "u-2")}, machine({}, {})), IsEmpty());
}

TEST(PodNews, SaysOnceWhatConcernsSeveralSharesOfOneContainer) {
  PodNews news;
  const std::vector held{holds("x", 1, "GPU-b"), holds("x", 1, "GPU-b")};
  EXPECT_EQ(news.look(held, machine({}, kXid)).size(), 1U);
  EXPECT_EQ(news.look(held, machine({}, {})).size(), 1U);
}

TEST(PodNews, KnowsMigDevicesByThemselves) {
  PodNews news;
  const std::vector held{holds("x", 0, "MIG-a"), holds("y", 0, "MIG-gone"), holds("z", 7, "GPU-h")};
  const std::vector<PodSaying> said = news.look(held, machine({}, {}, kXid));
  ASSERT_THAT(heads(said), ElementsAre("!GPUUnhealthy x"));
  EXPECT_TRUE(said[0].message.starts_with("MIG-a (on GPU 0, NVIDIA A100), which"));
}

}  // namespace
}  // namespace kerf::agent
