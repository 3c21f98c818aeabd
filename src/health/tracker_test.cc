#include "health/tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::health {
namespace {

using inventory::Gpu;
using inventory::GpuFault;
using inventory::MigDevice;
using inventory::Reading;
using inventory::Snapshot;
using testing::ElementsAre;
using testing::IsEmpty;

MigDevice mig(const std::string& uuid, unsigned gi, unsigned ci) {
  MigDevice device;
  device.uuid = uuid;
  device.gpu_instance = gi;
  device.compute_instance = ci;
  return device;
}

// Two plain GPUs and one with three MIG devices in two GPU instances.
Reading node() {
  Reading reading;
  for (unsigned index = 0; index < 3; ++index) {
    Gpu gpu;
    gpu.index = index;
    gpu.uuid = "GPU-" + std::to_string(index);
    reading.gpus.push_back(gpu);
  }
  reading.gpus[2].mig_enabled = true;
  reading.gpus[2].mig_devices = {mig("MIG-a", 1, 0), mig("MIG-b", 2, 0), mig("MIG-c", 2, 1)};
  return reading;
}

Reading node_with(GpuFault::Cause cause, const std::string& uuid) {
  Reading reading = node();
  reading.faults.push_back({uuid, cause, "as it is"});
  return reading;
}

// "GPU-0:xid" for everything that is marked, in the order of the node.
std::vector<std::string> marks(const Tracker& tracker, const Reading& reading = node()) {
  Snapshot snapshot;
  snapshot.gpus = reading.gpus;
  snapshot = tracker.apply(std::move(snapshot));
  std::vector<std::string> marked;
  for (const Gpu& gpu : snapshot.gpus) {
    if (gpu.unhealthy) marked.push_back(gpu.uuid + ":" + gpu.unhealthy->reason);
    for (const MigDevice& device : gpu.mig_devices) {
      if (device.unhealthy) marked.push_back(device.uuid + ":" + device.unhealthy->reason);
    }
  }
  return marked;
}

Tracker tracking(XidPolicy policy = {}) {
  Tracker tracker(std::move(policy));
  tracker.on_reading(node(), 1);
  return tracker;
}

TEST(Tracker, MarksNothingByItself) { EXPECT_THAT(marks(tracking()), IsEmpty()); }

TEST(Tracker, MarksTheGpuOfAnXidAndNoOther) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-1", 79, {}, {}}, 5);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-1:xid"));

  Snapshot snapshot;
  snapshot.gpus = node().gpus;
  auto mark = tracker.apply(snapshot).gpus[1].unhealthy;
  EXPECT_EQ(mark->since_ms, 5);
  EXPECT_EQ(mark->detail, "Xid 79 on GPU-1: GPU has fallen off the bus");
}

TEST(Tracker, ConcernsMigDevicesAsTheEventSays) {
  struct Row {
    std::optional<unsigned> gi;
    std::optional<unsigned> ci;
    std::vector<std::string> marked;
  };
  const Row rows[] = {
      {{}, {}, {"GPU-2:xid", "MIG-a:xid", "MIG-b:xid", "MIG-c:xid"}},
      {1, 0, {"MIG-a:xid"}},
      {2, 1, {"MIG-c:xid"}},
      {2, {}, {"MIG-b:xid", "MIG-c:xid"}},
      {{}, 0, {"MIG-a:xid", "MIG-b:xid"}},
      // An instance that nobody knows: better too much than nothing.
      {9, 0, {"GPU-2:xid", "MIG-a:xid", "MIG-b:xid", "MIG-c:xid"}},
  };
  for (const Row& row : rows) {
    Tracker tracker = tracking();
    tracker.on_xid({"GPU-2", 48, row.gi, row.ci}, 5);
    EXPECT_EQ(marks(tracker), row.marked);
  }
}

TEST(Tracker, MarksEveryGpuWhenTheDriverDoesNotSayWhich) {
  Tracker tracker = tracking();
  tracker.on_xid({"", 79, {}, {}}, 5);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid", "GPU-1:xid", "GPU-2:xid", "MIG-a:xid",
                                          "MIG-b:xid", "MIG-c:xid"));
}

TEST(Tracker, IgnoresXidsOfProgramsAndOfUnknownGpus) {
  Tracker tracker = tracking();
  for (std::uint64_t xid : {13, 31, 43, 45, 68, 109}) tracker.on_xid({"GPU-0", xid, {}, {}}, 5);
  tracker.on_xid({"GPU-9", 79, {}, {}}, 5);
  EXPECT_THAT(marks(tracker), IsEmpty());
}

TEST(Tracker, AsksThePolicy) {
  Tracker tracker = tracking(XidPolicy("79", "31"));
  tracker.on_xid({"GPU-0", 79, {}, {}}, 5);
  tracker.on_xid({"GPU-1", 31, {}, {}}, 5);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-1:xid"));
}

TEST(Tracker, KeepsAnXidThroughReadingsThatAnswer) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-0", 48, {}, {}}, 5);
  tracker.on_reading(node(), 6);
  tracker.on_reading(node_with(GpuFault::Cause::kQueryFailed, "GPU-0"), 7);
  tracker.on_reading(node(), 8);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid"));
}

TEST(Tracker, MarksFaultsUntilAReadingAnswers) {
  struct Row {
    GpuFault::Cause cause;
    std::string reason;
  };
  for (const Row& row :
       {Row{GpuFault::Cause::kLost, "gpu_lost"}, Row{GpuFault::Cause::kUnlisted, "gpu_lost"},
        Row{GpuFault::Cause::kStuck, "nvml_stuck"},
        Row{GpuFault::Cause::kQueryFailed, "query_failed"}}) {
    Tracker tracker = tracking();
    tracker.on_reading(node_with(row.cause, "GPU-2"), 5);
    EXPECT_THAT(marks(tracker), ElementsAre("GPU-2:" + row.reason, "MIG-a:" + row.reason,
                                            "MIG-b:" + row.reason, "MIG-c:" + row.reason));
    tracker.on_reading(node(), 6);
    EXPECT_THAT(marks(tracker), IsEmpty());
  }
}

TEST(Tracker, ForgetsXidsOfAGpuThatWasLostAndCameBack) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-2", 79, {}, {}}, 5);
  tracker.on_xid({"GPU-2", 48, 1, 0}, 5);
  tracker.on_xid({"GPU-0", 48, {}, {}}, 5);
  tracker.on_reading(node_with(GpuFault::Cause::kLost, "GPU-2"), 6);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid", "GPU-2:gpu_lost", "MIG-a:gpu_lost",
                                          "MIG-b:gpu_lost", "MIG-c:gpu_lost"));
  tracker.on_reading(node(), 7);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid"));
}

TEST(Tracker, ForgetsAnXidWithTheMigDeviceItConcerned) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-2", 48, 1, 0}, 5);
  Reading rebuilt = node();
  rebuilt.gpus[2].mig_devices[0].uuid = "MIG-new";
  tracker.on_reading(rebuilt, 6);
  EXPECT_THAT(marks(tracker, rebuilt), IsEmpty());
}

TEST(Tracker, MarksEverythingWhileTheDriverHangs) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-0", 48, {}, {}}, 4);
  tracker.on_driver_stuck("no answer", 5);
  tracker.on_driver_stuck("still no answer", 6);
  Snapshot snapshot;
  snapshot.gpus = node().gpus;
  Snapshot marked = tracker.apply(snapshot);
  for (const Gpu& gpu : marked.gpus) {
    ASSERT_TRUE(gpu.unhealthy.has_value());
    EXPECT_EQ(*gpu.unhealthy, (inventory::Unhealthy{"nvml_stuck", "no answer", 5}));
  }
  EXPECT_EQ(marked.gpus[2].mig_devices[1].unhealthy->reason, "nvml_stuck");
  tracker.on_reading(node(), 7);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid"));
}

TEST(Tracker, StartsAfreshWhenTheDriverWasReloaded) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-0", 48, {}, {}}, 4);
  tracker.on_driver_failed("unloaded", 5);
  EXPECT_EQ(marks(tracker).front(), "GPU-0:driver_failed");
  EXPECT_EQ(marks(tracker).size(), 6U);
  tracker.on_driver_restarted(true);
  EXPECT_THAT(marks(tracker), IsEmpty());
}

TEST(Tracker, KeepsXidsWhenTheDriverOnlyHadToBeAskedAgain) {
  Tracker tracker = tracking();
  tracker.on_xid({"GPU-0", 48, {}, {}}, 4);
  tracker.on_driver_failed("unknown error", 5);
  tracker.on_driver_restarted(false);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid"));
}

TEST(Tracker, ClearsXidsOnRequestAndNothingElse) {
  Tracker tracker = tracking();
  tracker.on_reading(node_with(GpuFault::Cause::kLost, "GPU-1"), 3);
  tracker.on_xid({"GPU-0", 48, {}, {}}, 4);
  tracker.on_xid({"GPU-2", 48, 1, 0}, 4);
  tracker.clear("GPU-2");
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-0:xid", "GPU-1:gpu_lost"));
  tracker.clear();
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-1:gpu_lost"));
  tracker.clear("GPU-unheard-of");
}

TEST(Tracker, MarksGpusThatCannotBeWatchedUntilTheyCan) {
  Tracker tracker = tracking();
  tracker.on_watching({{"GPU-1", "unknown error"}, {"GPU-9", "unknown error"}}, 5);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-1:query_failed"));
  tracker.on_reading(node(), 6);
  EXPECT_THAT(marks(tracker), ElementsAre("GPU-1:query_failed"));
  tracker.on_watching({}, 7);
  EXPECT_THAT(marks(tracker), IsEmpty());
}

TEST(Tracker, RemovesMarksThatASnapshotAlreadyHad) {
  Snapshot snapshot;
  snapshot.gpus = node().gpus;
  snapshot.gpus[0].unhealthy = inventory::Unhealthy{"xid", "old", 1};
  EXPECT_FALSE(tracking().apply(snapshot).gpus[0].unhealthy.has_value());
}

}  // namespace
}  // namespace kerf::health
