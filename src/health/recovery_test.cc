// When a GPU is trusted again, in time of the tests' own.
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
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kMinute = 60'000;

// Two plain GPUs and one with two MIG devices.
Reading three_gpus() {
  Reading reading;
  for (unsigned index = 0; index < 3; ++index) {
    Gpu& gpu = reading.gpus.emplace_back();
    gpu.index = index;
    gpu.uuid = "GPU-" + std::to_string(index);
    gpu.pci_bus_id = "0000:0" + std::to_string(index + 1) + ":00.0";
  }
  for (unsigned instance : {1U, 2U}) {
    MigDevice& mig = reading.gpus[2].mig_devices.emplace_back();
    mig.uuid = "MIG-" + std::to_string(instance);
    mig.gpu_instance = instance;
  }
  return reading;
}

// A node in a time of its own, which is looked at every half minute.
struct Node {
  explicit Node(Settings settings = {}) : tracker(std::move(settings)) { read(); }

  void read() { tracker.on_reading(reading, now); }
  void read_with(GpuFault::Cause cause, const std::string& gpu) {
    Reading faulty = reading;
    faulty.faults.push_back({gpu, cause, "as it is"});
    tracker.on_reading(faulty, now);
  }
  void xid(std::uint64_t xid, const std::string& gpu = "GPU-0") {
    tracker.on_xid({gpu, xid, {}, {}}, now);
  }
  void say(Conditions conditions) {
    if (conditions.gpu.empty()) conditions.gpu = "GPU-0";
    tracker.on_conditions({std::move(conditions)}, now);
  }
  void pass(std::int64_t ms) {
    for (std::int64_t end = now + ms; now < end;) {
      now = std::min(now + kMinute / 2, end);
      tracker.on_time(now);
    }
  }
  // "GPU-0:xid" for everything that is marked.
  std::vector<std::string> marks() {
    Snapshot snapshot;
    snapshot.gpus = reading.gpus;
    snapshot = tracker.apply(std::move(snapshot));
    std::vector<std::string> marked;
    for (const Gpu& gpu : snapshot.gpus) {
      if (gpu.unhealthy) marked.push_back(gpu.uuid + ":" + gpu.unhealthy->reason);
      if (gpu.unhealthy) detail = gpu.unhealthy->detail;
      for (const MigDevice& mig : gpu.mig_devices) {
        if (mig.unhealthy) marked.push_back(mig.uuid + ":" + mig.unhealthy->reason);
      }
    }
    return marked;
  }
  // How long it takes until nothing is marked any more.
  std::int64_t minutes_until_well() {
    for (std::int64_t minutes = 0; minutes < 600; ++minutes) {
      if (marks().empty()) return minutes;
      pass(kMinute);
    }
    return -1;
  }

  Reading reading = three_gpus();
  Tracker tracker;
  std::int64_t now = 1'700'000'000'000;
  std::string detail;  // of the GPU marked last
};

Settings with(XidPolicy::Actions actions) {
  Settings settings;
  settings.policy = XidPolicy("", "", std::move(actions));
  return settings;
}

TEST(Recovery, ComesWhenNothingMoreWasHeardForTheQuietTime) {
  Node node;
  node.xid(94);
  node.pass(5 * kMinute - 1);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:xid"));
  node.pass(1);
  EXPECT_THAT(node.marks(), IsEmpty());
}

TEST(Recovery, IsPutOffByEveryRepetition) {
  Node node;
  node.xid(94);
  node.pass(4 * kMinute);
  node.xid(94);
  node.pass(4 * kMinute);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:xid"));
  node.pass(kMinute);
  EXPECT_THAT(node.marks(), IsEmpty());
}

TEST(Recovery, TakesLongerEachTimeUpToABoundAndAsBeforeAfterALongPeace) {
  Node node;
  std::vector<std::int64_t> waits;
  for (int turn = 0; turn < 6; ++turn) {
    node.xid(94);
    waits.push_back(node.minutes_until_well());
    node.pass(kMinute);
  }
  EXPECT_THAT(waits, ElementsAre(5, 10, 20, 40, 60, 60));
  node.pass(60 * kMinute);
  node.xid(94);
  EXPECT_EQ(node.minutes_until_well(), 5);
}

TEST(Recovery, OfOneGpuSaysNothingOfAnother) {
  Node node;
  node.xid(94);
  node.minutes_until_well();
  node.xid(94, "GPU-1");
  EXPECT_EQ(node.minutes_until_well(), 5);
}

TEST(Recovery, NeedsTheActionsEnd) {
  using enum XidAction;
  struct {
    XidAction action;
    bool by_quiet, by_reset;
  } const rows[] = {
      {kUnhealthy, true, true}, {kUnhealthyUntilReset, false, true}, {kDrain, false, true}};
  for (const auto& row : rows) {
    SCOPED_TRACE(static_cast<int>(row.action));
    Node quiet(with({{7, row.action}}));
    quiet.xid(7);
    quiet.pass(300 * kMinute);
    EXPECT_EQ(quiet.marks().empty(), row.by_quiet);
    Node reset(with({{7, row.action}}));
    reset.xid(7);
    reset.read_with(GpuFault::Cause::kLost, "GPU-0");
    EXPECT_THAT(reset.marks(), ElementsAre("GPU-0:gpu_lost"));
    reset.read();
    EXPECT_EQ(reset.marks().empty(), row.by_reset);
    Node reloaded(with({{7, row.action}}));
    reloaded.xid(7);
    reloaded.tracker.on_driver_restarted(true);
    EXPECT_THAT(reloaded.marks(), IsEmpty());
  }
}

TEST(Recovery, SaysWhatToDoWhenItIsToBeDrained) {
  Node node(with({{7, XidAction::kDrain}}));
  node.xid(7);
  node.marks();
  EXPECT_THAT(node.detail, HasSubstr("Xid 7 on GPU-0; drain: move its pods"));
}

TEST(Recovery, WaitsForAGpuThatDoesNotAnswer) {
  Node node;
  node.xid(94);
  node.read_with(GpuFault::Cause::kQueryFailed, "GPU-0");
  node.pass(60 * kMinute);
  node.read();
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:xid"));
  node.tracker.on_driver_stuck("hangs", node.now);
  node.pass(60 * kMinute);
  node.tracker.on_driver_answers();
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:xid"));
  EXPECT_EQ(node.minutes_until_well(), 5);
}

TEST(Recovery, WaitsWhileTheDriverAsksForAResetAndFollowsTheReset) {
  Conditions asks;
  asks.recovery_action = 1;
  Conditions content;
  content.recovery_action = 0;
  Node node;
  node.xid(94);
  node.xid(48, "GPU-2");
  node.say(asks);
  node.pass(300 * kMinute);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:xid", "GPU-2:xid", "MIG-1:xid", "MIG-2:xid"));
  node.say(content);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-2:xid", "MIG-1:xid", "MIG-2:xid"));
  asks.gpu = content.gpu = "GPU-2";
  node.say(content);
  EXPECT_EQ(node.marks().size(), 3U) << "it never asked";
  node.say(asks);
  node.say(content);
  EXPECT_THAT(node.marks(), IsEmpty());
}

TEST(Recovery, NeverComesByItselfWhenItIsSwitchedOff) {
  Settings settings;
  settings.quiet_ms = kNever;
  Node node(settings);
  node.xid(94);
  node.pass(1000 * kMinute);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:xid"));
  node.tracker.clear("GPU-0");
  EXPECT_THAT(node.marks(), IsEmpty());
}

TEST(Recovery, OfAClockThatWasSetBackIsNotHurried) {
  Node node;
  node.xid(94);
  node.now -= 100 * kMinute;
  EXPECT_EQ(node.minutes_until_well(), 6) << "the first look notices";
}

TEST(Recovery, IsForOneMigDeviceAlone) {
  Node node;
  node.tracker.on_xid({"GPU-2", 94, 1, 0}, node.now);
  EXPECT_THAT(node.marks(), ElementsAre("MIG-1:xid"));
  EXPECT_EQ(node.minutes_until_well(), 5);
}

TEST(Recovery, OfAGpuThatKeepsFallingOffTheBusIsWatchedFirst) {
  Node node;
  for (int turn = 0; turn < 3; ++turn) {
    EXPECT_THAT(node.marks(), IsEmpty()) << turn;
    node.read_with(GpuFault::Cause::kLost, "GPU-0");
    node.pass(kMinute);
    node.read();
  }
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:flapping"));
  EXPECT_THAT(node.detail, HasSubstr("3 times"));
  EXPECT_GT(node.minutes_until_well(), 5);
}

Conditions errors(std::uint64_t count, const std::string& gpu = "GPU-0") {
  Conditions out;
  out.gpu = gpu;
  out.uncorrectable = count;
  return out;
}

TEST(MemoryErrors, CountFromTheFirstLookAndLastUntilTheReset) {
  Node node;
  node.say(errors(7));
  EXPECT_THAT(node.marks(), IsEmpty()) << "they were counted before";
  node.say(errors(9));
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:ecc"));
  EXPECT_THAT(node.detail, HasSubstr("2 uncorrectable memory errors"));
  node.pass(300 * kMinute);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:ecc"));
  node.say(errors(0));
  EXPECT_THAT(node.marks(), IsEmpty());
}

TEST(MemoryErrors, AreJudgedByTheXidThatTellsOfThem) {
  for (bool count_first : {false, true}) {
    SCOPED_TRACE(count_first);
    Node node(with({{94, XidAction::kIgnore}}));
    node.say(errors(0, "GPU-2"));
    if (!count_first) node.tracker.on_xid({"GPU-2", 94, 1, 0}, node.now);
    node.tracker.on_double_bit("GPU-2", node.now);
    node.say(errors(1, "GPU-2"));
    if (count_first) node.tracker.on_xid({"GPU-2", 94, 1, 0}, node.now);
    EXPECT_THAT(node.marks(), IsEmpty()) << "ignored";
    node.tracker.on_xid({"GPU-2", 95, 2, 0}, node.now);
    node.say(errors(2, "GPU-2"));
    EXPECT_THAT(node.marks(), ElementsAre("MIG-2:xid")) << "its sibling is sound";
    node.pass(kMinute);
    node.say(errors(3, "GPU-2"));
    EXPECT_EQ(node.marks().size(), 3U) << "nobody told of this one";
  }
}

TEST(MemoryErrors, AreMarkedOnTheEventAlone) {
  Node node;
  node.tracker.on_double_bit("GPU-1", node.now);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-1:ecc"));
}

TEST(RowRemapping, IsTroubleWhileTheGpuSaysSo) {
  Node node;
  Conditions pending;
  pending.remap_pending = true;
  pending.remap_failed = false;
  node.say(pending);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:row_remap"));
  EXPECT_THAT(node.detail, HasSubstr("when the GPU is reset"));
  pending.remap_pending = false;
  node.say(pending);
  EXPECT_THAT(node.marks(), IsEmpty());
  pending.remap_failed = true;
  node.say(pending);
  node.pass(300 * kMinute);
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:row_remap"));
  EXPECT_THAT(node.detail, HasSubstr("cannot be replaced"));
}

Conditions links(std::vector<LinkCondition> all) {
  Conditions out;
  out.links = std::move(all);
  return out;
}

TEST(NvLink, ThatWasUpAndIsDownIsTrouble) {
  Node node;
  node.say(links({{0, true, ""}, {1, false, ""}, {2, true, ""}}));
  EXPECT_THAT(node.marks(), IsEmpty()) << "link 1 was never up";
  node.say(links({{0, false, ""}, {1, false, ""}, {2, false, ""}}));
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:nvlink"));
  EXPECT_THAT(node.detail, HasSubstr("NVLink down: 0, 2"));
  node.say(links({{0, true, ""}, {1, false, ""}, {2, true, ""}}));
  EXPECT_EQ(node.minutes_until_well(), 5);
}

TEST(NvLink, ToAGpuThatFellOffTheBusIsNotTheFaultOfThisOne) {
  Node node;
  node.say(links({{0, true, "0000:02:00.0"}}));
  node.read_with(GpuFault::Cause::kLost, "GPU-1");
  node.say(links({{0, false, ""}}));
  EXPECT_THAT(node.marks(), ElementsAre("GPU-1:gpu_lost"));
}

Conditions heat(bool slowed, unsigned celsius) {
  Conditions out;
  out.slowed_by_heat = slowed;
  out.temperature = celsius;
  out.shutdown_temperature = 100;
  return out;
}

TEST(Heat, IsTroubleOnceItLasts) {
  Node node;
  node.say(heat(true, 93));
  node.pass(kMinute / 2);
  node.say(heat(false, 88));
  node.pass(kMinute / 2);
  node.say(heat(true, 94));
  node.pass(kMinute - 1);
  node.say(heat(true, 94));
  EXPECT_THAT(node.marks(), IsEmpty());
  node.pass(1);
  node.say(heat(true, 95));
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:thermal"));
  EXPECT_THAT(node.detail, HasSubstr("slowed down by heat at 95 degrees"));
  node.say(heat(false, 70));
  EXPECT_EQ(node.minutes_until_well(), 5);
}

TEST(Heat, AtTheLimitIsTroubleAtOnce) {
  Node node;
  node.say(heat(false, 100));
  EXPECT_THAT(node.marks(), ElementsAre("GPU-0:thermal"));
  EXPECT_THAT(node.detail, HasSubstr("as hot as it may get, 100 degrees"));
}

TEST(Settings, SwitchEachConditionOffAndTakeItsMarksBack) {
  struct {
    const char* word;
    bool Settings::* with;
    std::vector<Conditions> said;
  } const rows[] = {
      {"ecc", &Settings::ecc, {errors(0), errors(1)}},
      {"nvlink", &Settings::nvlink, {links({{0, true, ""}}), links({{0, false, ""}})}},
      {"thermal", &Settings::thermal, {heat(true, 100)}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.word);
    Node node;
    for (const Conditions& each : row.said) node.say(each);
    EXPECT_THAT(node.marks(), ElementsAre(std::string("GPU-0:") + row.word));
    Settings off;
    off.*row.with = false;
    node.tracker.configure(off);
    EXPECT_THAT(node.marks(), IsEmpty());
    for (const Conditions& each : row.said) node.say(each);
    EXPECT_THAT(node.marks(), IsEmpty());
  }
}

TEST(Settings, ThatIgnoreAnXidTakeItsMarksBack) {
  Node node;
  node.xid(48);
  node.xid(94, "GPU-1");
  node.tracker.configure(with({{48, XidAction::kIgnore}}));
  EXPECT_THAT(node.marks(), ElementsAre("GPU-1:xid"));
}

}  // namespace
}  // namespace kerf::health
