// What outlives the agent: the text, the file, and what the tracker makes of it.
#include "health/memory.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

#include "health/memory_file.h"
#include "health/tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::health {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kBorn = 1'000'000'000;

inventory::Reading node(unsigned gpus = 2) {
  inventory::Reading reading;
  for (unsigned index = 0; index < gpus; ++index) {
    inventory::Gpu gpu;
    gpu.index = index;
    gpu.uuid = "GPU-" + std::to_string(index);
    reading.gpus.push_back(gpu);
  }
  inventory::MigDevice mig;
  mig.uuid = "MIG-a";
  mig.gpu_instance = 1;
  reading.gpus.back().mig_devices.push_back(mig);
  return reading;
}

Tracker tracking(std::int64_t now_ms = kBorn) {
  Tracker tracker;
  tracker.on_reading(node(), now_ms);
  return tracker;
}

std::vector<std::string> marks(const Tracker& tracker) {
  inventory::Snapshot snapshot;
  snapshot.gpus = node().gpus;
  snapshot = tracker.apply(std::move(snapshot));
  std::vector<std::string> out;
  for (const auto& gpu : snapshot.gpus) {
    if (gpu.unhealthy) out.push_back(gpu.uuid + ": " + gpu.unhealthy->detail);
    for (const auto& mig : gpu.mig_devices) {
      if (mig.unhealthy && mig.unhealthy != gpu.unhealthy) out.push_back(mig.uuid);
    }
  }
  return out;
}

// What GPU-0 says, which wants the driver's recovery action of this number.
Conditions asking_for(std::uint32_t action) {
  Conditions out;
  out.gpu = "GPU-0";
  out.recovery_action = action;
  return out;
}

// The tracker of the next agent, with what this one leaves it, by way of the text.
Tracker next(const Tracker& tracker, std::int64_t now_ms, Settings settings = {}) {
  auto memory = memory_from_text(to_text(tracker.remember()), "memory");
  EXPECT_FALSE(memory);  // without an epoch it is not a whole one
  Memory whole = tracker.remember();
  whole.epoch = {"boot", "1.2", "7"};
  memory = memory_from_text(to_text(whole), "memory");
  EXPECT_TRUE(memory) << memory.error().text();
  EXPECT_EQ(*memory, whole);
  Tracker out(std::move(settings));
  out.on_reading(node(), now_ms);
  out.recall(*memory, now_ms);
  return out;
}

TEST(Recall, KeepsAGpuThatAnXidBrokeUntilItIsReset) {
  Tracker first = tracking();
  first.on_xid({"GPU-0", 48, {}, {}}, kBorn + 5);
  Tracker second = next(first, kBorn + kMinute);
  EXPECT_EQ(marks(second), marks(first));
  second.on_time(kBorn + 1000 * kMinute);
  EXPECT_EQ(marks(second), marks(first));
  const Conditions wants = asking_for(1), well = asking_for(0);
  second.on_conditions({wants}, kBorn + 1001 * kMinute);
  second.on_conditions({well}, kBorn + 1002 * kMinute);
  EXPECT_THAT(marks(second), IsEmpty());
}

TEST(Recall, NoticesAResetThatHappenedMeanwhile) {
  Tracker first = tracking();
  first.on_xid({"GPU-0", 48, {}, {}}, kBorn);
  const Conditions wants = asking_for(1), well = asking_for(0);
  first.on_conditions({wants}, kBorn);
  Tracker second = next(first, kBorn + kMinute);
  second.on_conditions({well}, kBorn + kMinute);
  EXPECT_THAT(marks(second), IsEmpty());
}

TEST(Recall, LetsQuietTimesBeginAnewBecauseNobodyListenedMeanwhile) {
  Tracker first = tracking();
  first.on_xid({"GPU-0", 32, {}, {}}, kBorn);
  Tracker second = next(first, kBorn + 100 * kMinute);
  second.on_time(kBorn + 104 * kMinute);
  EXPECT_EQ(marks(second).size(), 1u);
  second.on_time(kBorn + 105 * kMinute);
  EXPECT_THAT(marks(second), IsEmpty());
}

TEST(Recall, StillDoublesTheQuietTimeOfAGpuThatFailsAgain) {
  Tracker first = tracking();
  first.on_xid({"GPU-0", 32, {}, {}}, kBorn);
  first.on_time(kBorn + 5 * kMinute);
  ASSERT_THAT(marks(first), IsEmpty());
  first.on_xid({"GPU-0", 32, {}, {}}, kBorn + 6 * kMinute);
  Tracker second = next(first, kBorn + 7 * kMinute);
  second.on_time(kBorn + (7 + 9) * kMinute);
  EXPECT_EQ(marks(second).size(), 1u);
  second.on_time(kBorn + (7 + 10) * kMinute);
  EXPECT_THAT(marks(second), IsEmpty());
}

TEST(Recall, KnowsMigDevices) {
  Tracker first = tracking();
  first.on_xid({"GPU-1", 48, 1, {}}, kBorn);
  EXPECT_THAT(marks(first), ElementsAre("MIG-a"));
  EXPECT_THAT(marks(next(first, kBorn)), ElementsAre("MIG-a"));
}

TEST(Recall, LeavesOutWhatIsNotThereAnyMore) {
  Tracker first;
  first.on_reading(node(3), kBorn);
  first.on_xid({"GPU-2", 48, {}, {}}, kBorn);
  Tracker second = next(first, kBorn);
  EXPECT_THAT(marks(second), IsEmpty());
  EXPECT_THAT(second.remember().marks, IsEmpty());
}

TEST(Recall, LeavesOutWhatTheSettingsOfNowIgnore) {
  Tracker first = tracking();
  first.on_xid({"GPU-0", 48, {}, {}}, kBorn);
  Settings settings;
  settings.policy = XidPolicy("48", "");
  EXPECT_THAT(marks(next(first, kBorn, settings)), IsEmpty());
}

TEST(Recall, ComparesErrorCountsAndLinksWithThoseOfBefore) {
  Tracker first = tracking();
  Conditions before = asking_for(0);
  before.uncorrectable = 3;
  before.links = {{0, true, "0000:05:00.0"}};
  first.on_conditions({before}, kBorn);
  Conditions now = before;
  now.links[0].up = false;
  Tracker down = next(first, kBorn);
  down.on_conditions({now}, kBorn + 1);
  EXPECT_THAT(marks(down), ElementsAre("GPU-0: NVLink down: 0"));
  now = before;
  now.uncorrectable = 5;
  Tracker more = next(first, kBorn);
  more.on_conditions({now}, kBorn + 1);
  EXPECT_THAT(marks(more), ElementsAre("GPU-0: 2 uncorrectable memory errors more than before"));
}

TEST(Recall, DoesNotTakeTimesFromTheFuture) {
  Tracker first = tracking();
  first.on_xid({"GPU-0", 32, {}, {}}, kBorn + 1000 * kMinute);
  Tracker second = next(first, kBorn);
  second.on_time(kBorn + 5 * kMinute);
  EXPECT_THAT(marks(second), IsEmpty());
}

TEST(Text, NamesTheLineThatIsWrong) {
  const std::string head = "kerf-health\t1\nboot\tb\ndriver\t1\t2\n";
  struct {
    std::string text, where;
  } const cases[] = {
      {"", "m:1"},
      {"{}", "m:1"},
      {"kerf-health\t2\nend\n", "m:1"},
      {head, "m:4"},
      {head + "end", "m:5"},
      {head + "end\nmore\n", "m:5"},
      {head + "what\tis\tthis\nend\n", "m:4"},
      {head + "mark\tGPU-0\txid\t1\t48\txid\nend\n", "m:4"},
      {head + "mark\tGPU-0\txid\t-1\t48\txid\tdetail\nend\n", "m:4"},
      {head + "mark\tGPU-0\txid\t99999999999999999999\t48\txid\td\nend\n", "m:4"},
      {head + "mark\tGPU-0\txid\t9223372036854775808\t48\txid\td\nend\n", "m:4"},
      {head + "link\t0\tx\nend\n", "m:4"},
      {head + "gpu\tGPU-0\t-\t0\nlink\t0\tx\nlink\t0\ty\nend\n", "m:6"},
      {head + "gpu\tGPU-0\t-\tyes\nend\n", "m:4"},
      {head + "recovery\tGPU-0\t1\t2\t4294967296\nend\n", "m:4"},
      {std::string("kerf-health\t1\n\0\0\0\n", 18), "m:2"},
  };
  for (const auto& each : cases) {
    auto got = memory_from_text(each.text, "m");
    ASSERT_FALSE(got) << each.text;
    EXPECT_EQ(got.error().subject, each.where) << each.text;
  }
}

TEST(Text, IsNotReadWhenAnyOfItIsMissing) {
  Memory memory;
  memory.epoch = {"boot", "1.2", "7"};
  memory.marks = {{"GPU-0", "xid", 1, 48, "xid", "two\nlines\tand a tab"}};
  memory.gpus = {{"GPU-0", 3, true, {{4, "0000:05:00.0"}}}};
  memory.recoveries = {{"GPU-0", 1, 2, 3}};
  const std::string text = to_text(memory);
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(memory_from_text(text.substr(0, size), "m")) << text.substr(0, size);
  }
  auto whole = memory_from_text(text, "m");
  ASSERT_TRUE(whole) << whole.error().text();
  EXPECT_EQ(whole->marks[0].detail, "two lines and a tab");
  EXPECT_EQ(whole->gpus, memory.gpus);
}

class MemoryFileTest : public testing::Test {
 protected:
  MemoryFileTest() {
    std::string pattern = (fs::temp_directory_path() / "kerf-memory-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    write("proc/sys/kernel/random/boot_id", "one\n");
    fs::create_directories(directory_ / "sys/module/nvidia");
    kept_.marks = {{"GPU-0", "xid-reset", 1, 48, "xid", "detail"}};
  }
  ~MemoryFileTest() override { fs::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name) << text;
  }
  std::string text(const std::string& name) const {
    std::stringstream out;
    out << std::ifstream(directory_ / name).rdbuf();
    return out.str();
  }
  // As one agent after the other sees it.
  MemoryFile file(const std::string& driver = "1.2", const std::string& where = "state") const {
    MemoryFile out((directory_ / where).string(), Roots::below(directory_.string()));
    out.driver_started(driver);
    return out;
  }

  fs::path directory_;
  Memory kept_;
};

TEST_F(MemoryFileTest, FindsWhatWasKept) {
  EXPECT_FALSE(file().load());
  file().save(kept_);
  auto found = file().load();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->marks, kept_.marks);
}

TEST_F(MemoryFileTest, ForgetsAfterABoot) {
  file().save(kept_);
  write("proc/sys/kernel/random/boot_id", "two\n");
  EXPECT_FALSE(file().load());
}

TEST_F(MemoryFileTest, ForgetsWithAnotherLoadOfTheDriver) {
  file().save(kept_);
  EXPECT_FALSE(file("1.3").load());
  EXPECT_TRUE(file().load());
  fs::create_directories(directory_ / "new");
  fs::rename(directory_ / "new", directory_ / "sys/module/nvidia");
  EXPECT_FALSE(file().load());
}

TEST_F(MemoryFileTest, BeginsAnewWhenItIsBroken) {
  write("state/health", "kerf-health\t1\nboot\t");
  MemoryFile next = file();
  EXPECT_FALSE(next.load());
  next.save(kept_);
  EXPECT_TRUE(file().load());
}

TEST_F(MemoryFileTest, WritesOnlyWhatIsDifferent) {
  MemoryFile one = file();
  one.save(kept_);
  struct stat before{}, after{};
  stat((directory_ / "state/health").c_str(), &before);
  one.save(kept_);
  MemoryFile two = file();
  ASSERT_TRUE(two.load());
  two.save(kept_);
  stat((directory_ / "state/health").c_str(), &after);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_THAT(text("state/health"), HasSubstr("mark\tGPU-0\txid-reset"));
}

TEST_F(MemoryFileTest, DoesWithoutWhereItCannotBe) {
  fs::create_directories(directory_ / "state/health");  // a directory in its place
  write("plain", "");
  for (const char* where : {"state", "no/such/parent", "plain"}) {
    MemoryFile one = file("1.2", where);
    EXPECT_FALSE(one.load());
    one.save(kept_);
    one.save({});
    EXPECT_FALSE(file("1.2", where).load()) << where;
  }
  MemoryFile none("", Roots::below(directory_.string()));
  none.save(kept_);
  EXPECT_FALSE(none.load());
}

TEST_F(MemoryFileTest, KeepsNothingWithoutKnowingTheBoot) {
  fs::remove(directory_ / "proc/sys/kernel/random/boot_id");
  const Roots nothing = Roots::below((directory_ / "nothing").string());
  MemoryFile here((directory_ / "state").string(), Roots::below(directory_.string()), nothing);
  here.save(kept_);
  EXPECT_FALSE(fs::exists(directory_ / "state"));
}

// As in a pod that is shown a part of the host's trees.
TEST_F(MemoryFileTest, AsksItsOwnKernelForTheBootWhereTheHostsTreesLackIt) {
  const std::string state = (directory_ / "state").string();
  const Roots some = Roots::below((directory_ / "some").string());
  const Roots own = Roots::below(directory_.string());
  MemoryFile(state, some, own).save(kept_);
  EXPECT_TRUE(MemoryFile(state, some, own).load());
  write("proc/sys/kernel/random/boot_id", "two\n");
  EXPECT_FALSE(MemoryFile(state, some, own).load());
}

}  // namespace
}  // namespace kerf::health
