// The watcher against a machine that is described in a file and answers through the real ABI. Each
// test has a machine of its own; faults are made with the machine's own tool.
#include "health/watcher.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>

#include "inventory/differ.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::health {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using inventory::DriverState;
using inventory::Gpu;
using inventory::Snapshot;
using inventory::SnapshotPtr;
using testing::IsEmpty;

constexpr auto kAmple = 30s;

// A caller's event loop: runs what is posted, on the test's thread.
class Loop {
 public:
  Watcher::Post post() {
    return [this](std::function<void()> work) {
      {
        std::lock_guard lock(mutex_);
        queue_.push_back(std::move(work));
      }
      arrived_.notify_one();
    };
  }

  // Runs what comes until the condition holds. False when it never does.
  template <typename Condition>
  bool run_until(Condition condition, std::chrono::milliseconds limit = kAmple) {
    auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      std::unique_lock lock(mutex_);
      // Conditions may also depend on what nobody posts, so they are looked at now and then.
      auto next = std::min(deadline, std::chrono::steady_clock::now() + 5ms);
      arrived_.wait_until(lock, next, [&] { return !queue_.empty(); });
      if (queue_.empty() && std::chrono::steady_clock::now() >= deadline) return condition();
      std::deque<std::function<void()>> batch = std::exchange(queue_, {});
      lock.unlock();
      for (auto& work : batch) work();
    }
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> queue_;
};

std::size_t count_entries(const std::string& name) {
  // A sanitizer starts a thread of its own with the first of ours; that one is not to be counted.
  static const bool first [[maybe_unused]] = (std::thread([] {}).join(), true);
  fs::directory_iterator entries(Roots::below("/").proc + "/self/" + name);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

class WatcherTest : public testing::Test {
 protected:
  WatcherTest() {
    std::string pattern = (fs::temp_directory_path() / "kerf-watcher-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    fs::create_directories(directory_ / "state");
    use_machine("rtx3090x2");
    setenv("NVML_SIM_STATE", (directory_ / "state").c_str(), 1);
    options_.library_candidates = {library("libnvidia-ml.so.100")};
    options_.roots = Roots::below((directory_ / "root").string());
    options_.retry = 20ms;
    options_.probe = 20ms;
    options_.event_wait = 50ms;
    options_.init_deadline = 10s;
    options_.call_deadline = 10s;
  }

  // Lets go of what hangs and waits for its threads, so that the next test meets none of them.
  ~WatcherTest() override {
    if (faulty_) machine({"clear"});
    watcher_.reset();
    loop_.run_until([&] { return count_entries("task") <= threads_; });
    fs::remove_all(directory_);
  }

  void fault(std::vector<std::string> arguments) {
    faulty_ = true;
    arguments.insert(arguments.begin(), "fault");
    machine(std::move(arguments));
  }

  // A copy of the driver's library for this test alone, since a loaded one remembers its machine.
  // It stays loaded, because one with a C++ runtime of its own leaves memory behind when unloaded.
  fs::path library(const std::string& name) const {
    fs::path copy = directory_ / name;
    fs::copy_file(KERF_NVML_LIBRARY, copy);
    EXPECT_NE(dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), nullptr) << dlerror();
    return copy;
  }

  void use_machine(const std::string& name) {
    fs::path file = directory_ / "machine.yaml";
    fs::copy_file(fs::path(KERF_MACHINES) / (name + ".yaml"), file,
                  fs::copy_options::overwrite_existing);
    setenv("NVML_SIM_MACHINE", file.c_str(), 1);
  }

  void write(const fs::path& path, std::string_view content) {
    fs::create_directories((directory_ / path).parent_path());
    std::ofstream(directory_ / path) << content;
  }

  // Runs the machine's tool: machine({"xid", "0", "79"}).
  void machine(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), KERF_NVML_TOOL);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, (directory_ / "tool.log").c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "the tool refused " << arguments[1];
  }

  void start() {
    watcher_ = std::make_unique<Watcher>(options_);
    Status started = watcher_->start(loop_.post(), [this](SnapshotPtr snapshot) {
      EXPECT_TRUE(!last_ || snapshot->generation > last_->generation);
      last_ = std::move(snapshot);
    });
    ASSERT_TRUE(started.has_value()) << started.error().text();
  }

  // Waits for a snapshot that fits.
  template <typename Condition>
  bool see(Condition condition) {
    return loop_.run_until([&] { return last_ && condition(*last_); });
  }
  bool see_ready(std::size_t gpus) {
    return see([&](const Snapshot& s) {
      return s.driver.state == DriverState::kReady && s.gpus.size() == gpus &&
             std::none_of(s.gpus.begin(), s.gpus.end(),
                          [](const Gpu& gpu) { return gpu.unhealthy.has_value(); });
    });
  }
  // "xid" when GPU `index` of the last snapshot is so marked; "" when it is healthy.
  std::string mark(std::size_t index) const {
    if (!last_ || last_->gpus.size() <= index) return "no such GPU";
    const auto& unhealthy = last_->gpus[index].unhealthy;
    return unhealthy ? unhealthy->reason : "";
  }
  bool see_mark(std::size_t index, const std::string& reason) {
    return loop_.run_until([&] { return mark(index) == reason; });
  }

  // Waits until the driver would deliver an event.
  bool see_watched(unsigned gpus) {
    return loop_.run_until([&] { return watcher_->stats().watched == gpus; });
  }

  std::size_t threads_ = count_entries("task");
  bool faulty_ = false;
  fs::path directory_;
  WatcherOptions options_;
  Loop loop_;
  SnapshotPtr last_;
  std::unique_ptr<Watcher> watcher_;
};

TEST_F(WatcherTest, ReadsTwoConsumerGpusAndTheirLinks) {
  write("root/sys/bus/pci/devices/0000:01:00.0/numa_node", "0\n");
  write("root/sys/bus/pci/devices/0000:02:00.0/numa_node", "-1\n");
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return !s.links.empty(); }));

  EXPECT_EQ(last_->driver.state, DriverState::kReady);
  EXPECT_EQ(last_->driver.version, "595.71.05");
  EXPECT_EQ(last_->driver.cuda_version, 13020);
  EXPECT_EQ(last_->driver.library, directory_ / "libnvidia-ml.so.100");
  ASSERT_EQ(last_->gpus.size(), 2U);
  const Gpu& gpu = last_->gpus[0];
  EXPECT_EQ(gpu.index, 0U);
  EXPECT_EQ(gpu.uuid, "GPU-5a3f1c0e-8d27-4b61-9c52-0e7ab4d1f390");
  EXPECT_EQ(gpu.name, "NVIDIA GeForce RTX 3090");
  EXPECT_EQ(gpu.pci_bus_id, "0000:01:00.0");
  EXPECT_EQ(gpu.pci_device, 0x220410deU);
  EXPECT_EQ(gpu.numa_node, 0);
  EXPECT_EQ(gpu.memory_bytes, 24576ULL << 20);
  EXPECT_EQ(gpu.compute_major, 8);
  EXPECT_EQ(gpu.compute_minor, 6);
  EXPECT_EQ(gpu.architecture, "ampere");
  EXPECT_FALSE(gpu.mig_capable);
  EXPECT_FALSE(gpu.unhealthy.has_value());
  EXPECT_EQ(last_->gpus[1].numa_node, std::nullopt);
  EXPECT_EQ(last_->gpus[1].minor, 1U);
  ASSERT_EQ(last_->links.size(), 1U);
  EXPECT_EQ(last_->links[0].nvlinks, 0U);
  EXPECT_GT(last_->links[0].pcie_score, 0);
}

TEST_F(WatcherTest, SaysWhereItLookedWhenThereIsNoLibrary) {
  options_.library_candidates = {"/nonexistent/libnvidia-ml.so.1"};
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return s.generation == 1; }));
  EXPECT_EQ(last_->driver.state, DriverState::kAbsent);
  EXPECT_THAT(last_->driver.detail, testing::HasSubstr("/nonexistent/libnvidia-ml.so.1"));
  EXPECT_THAT(last_->gpus, IsEmpty());
}

TEST_F(WatcherTest, PicksUpALibraryThatAppears) {
  fs::path place = directory_ / "libnvidia-ml.so.1";
  options_.library_candidates = {place};
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return s.driver.state == DriverState::kAbsent; }));
  fs::create_symlink("libnvidia-ml.so.100", place);
  EXPECT_TRUE(see_ready(2));
}

TEST_F(WatcherTest, StaysQuietWhileNothingChanges) {
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return !s.links.empty(); }));
  std::uint64_t generation = last_->generation;
  watcher_->refresh();
  std::uint64_t readings = watcher_->stats().readings;
  ASSERT_TRUE(loop_.run_until([&] { return watcher_->stats().readings > readings; }));
  EXPECT_EQ(watcher_->current()->generation, generation);
}

TEST_F(WatcherTest, DeliversNothingAfterStop) {
  start();
  ASSERT_TRUE(see_ready(2));
  watcher_->refresh();
  watcher_->stop();
  auto before = last_;
  loop_.run_until([] { return false; }, 30ms);
  EXPECT_EQ(last_, before);
  watcher_->stop();
}

TEST_F(WatcherTest, LeavesNoThreadsOrDescriptorsBehindOverManyLives) {
  start();
  ASSERT_TRUE(see_ready(2));
  watcher_.reset();
  ASSERT_TRUE(loop_.run_until([&] { return count_entries("task") <= threads_; }));
  std::size_t descriptors = count_entries("fd");
  for (int life = 0; life < 100; ++life) {
    last_.reset();
    start();
    ASSERT_TRUE(see_ready(2)) << "life " << life;
    watcher_.reset();
  }
  EXPECT_TRUE(loop_.run_until([&] { return count_entries("task") <= threads_; }))
      << count_entries("task");
  EXPECT_LE(count_entries("fd"), descriptors);
}

TEST_F(WatcherTest, HasNoMemorySizeWhereMemoryIsTheHosts) {
  use_machine("dgx-spark-gb10");
  start();
  ASSERT_TRUE(see_ready(1));
  EXPECT_EQ(last_->gpus[0].memory_bytes, std::nullopt);
  EXPECT_EQ(last_->gpus[0].pci_bus_id, "000f:01:00.0");
  EXPECT_EQ(last_->gpus[0].architecture, "blackwell");
}

TEST_F(WatcherTest, IsReadyWithoutAnyGpu) {
  use_machine("none");
  start();
  EXPECT_TRUE(see([](const Snapshot& s) { return s.generation > 0 && s.gpus.empty(); }));
}

TEST_F(WatcherTest, ReadsEveryPairOfALargeNodeAndCountsNoLinksToSwitches) {
  use_machine("h200x8-hgx");
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return s.links.size() == 28; }));
  ASSERT_EQ(last_->gpus.size(), 8U);
  for (const inventory::Link& link : last_->links) {
    EXPECT_LT(link.from, link.to);
    EXPECT_EQ(link.nvlinks, 0U);
    EXPECT_EQ(link.pcie_score, link.from / 4 == link.to / 4 ? 20 : 10)
        << link.from << " " << link.to;
  }
}

TEST_F(WatcherTest, ReadsMigDevicesWithProfilesAndMinors) {
  use_machine("a100-80x1-mig");
  machine({"tree", (directory_ / "root").string()});
  start();
  ASSERT_TRUE(see_ready(1));
  const Gpu& gpu = last_->gpus[0];
  EXPECT_TRUE(gpu.mig_capable);
  EXPECT_TRUE(gpu.mig_enabled);
  std::vector<std::string> profiles;
  for (const auto& mig : gpu.mig_devices) {
    profiles.push_back(mig.profile);
    EXPECT_EQ(mig.uuid.substr(0, 4), "MIG-");
    EXPECT_EQ(mig.index, profiles.size() - 1);
    EXPECT_TRUE(mig.gpu_instance_minor.has_value());
    EXPECT_TRUE(mig.compute_instance_minor.has_value());
  }
  EXPECT_THAT(profiles, testing::ElementsAre("1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"));
}

TEST_F(WatcherTest, MarksTheMigDeviceThatAnXidNames) {
  use_machine("a100-80x1-mig");
  start();
  ASSERT_TRUE(see_ready(1) && see_watched(1));
  const auto& wanted = last_->gpus[0].mig_devices[2];
  fault({"xid", "48", "--event-only", "--gpu", "0", "--gpu-instance",
         std::to_string(wanted.gpu_instance), "--compute-instance",
         std::to_string(wanted.compute_instance)});
  ASSERT_TRUE(
      see([](const Snapshot& s) { return s.gpus[0].mig_devices[2].unhealthy.has_value(); }));
  EXPECT_FALSE(last_->gpus[0].unhealthy.has_value());
  for (std::size_t mig : {0U, 1U, 3U}) {
    EXPECT_FALSE(last_->gpus[0].mig_devices[mig].unhealthy.has_value()) << mig;
  }
}

TEST_F(WatcherTest, TellsOfAnXidWithoutLookingForIt) {
  options_.probe = 1h;
  start();
  ASSERT_TRUE(see_ready(2) && see_watched(2));
  fault({"xid", "48", "--event-only", "--gpu", "1"});
  ASSERT_TRUE(see_mark(1, "xid"));
  EXPECT_EQ(mark(0), "");
  auto xids = watcher_->stats().xids;
  ASSERT_EQ(xids.size(), 1U);
  EXPECT_EQ(xids[0].gpu, last_->gpus[1].uuid);
  EXPECT_EQ(xids[0].xid, 48U);
  EXPECT_EQ(xids[0].count, 1U);
  EXPECT_FALSE(xids[0].ignored);

  watcher_->clear(last_->gpus[1].uuid);
  EXPECT_TRUE(see_ready(2));
}

TEST_F(WatcherTest, CountsXidsOfProgramsAndLeavesTheGpuAlone) {
  start();
  ASSERT_TRUE(see_ready(2) && see_watched(2));
  fault({"xid", "31", "--gpu", "1"});
  fault({"xid", "31", "--gpu", "1"});
  ASSERT_TRUE(loop_.run_until([&] {
    auto xids = watcher_->stats().xids;
    return xids.size() == 1 && xids[0].count == 2;
  }));
  EXPECT_TRUE(watcher_->stats().xids[0].ignored);
  EXPECT_EQ(mark(1), "");
}

TEST_F(WatcherTest, WatchesNoEventsWhenChecksAreOff) {
  options_.settings.policy = XidPolicy("all", "");
  start();
  ASSERT_TRUE(see_ready(2));
  fault({"xid", "48", "--event-only", "--gpu", "1"});
  std::uint64_t readings = watcher_->stats().readings;
  watcher_->refresh();
  ASSERT_TRUE(loop_.run_until([&] { return watcher_->stats().readings > readings; }));
  EXPECT_EQ(watcher_->stats().events, 0U);
  EXPECT_EQ(mark(1), "");
}

TEST_F(WatcherTest, MarksAGpuThatIsLostUntilItIsBackAndWatchesItAgain) {
  start();
  ASSERT_TRUE(see_ready(2) && see_watched(2));
  fault({"xid", "79", "--gpu", "1"});
  ASSERT_TRUE(see_mark(1, "gpu_lost"));
  EXPECT_EQ(mark(0), "");
  EXPECT_EQ(last_->gpus[1].index, 1U);
  EXPECT_EQ(last_->driver.state, DriverState::kReady);
  EXPECT_TRUE(see_watched(1));

  fault({"back", "--gpu", "1"});
  EXPECT_TRUE(see_ready(2));
  EXPECT_TRUE(see_watched(2));
}

TEST_F(WatcherTest, KeepsAGpuInViewThatTheDriverNoLongerLists) {
  start();
  ASSERT_TRUE(see_ready(2));
  std::string lost = last_->gpus[0].uuid;
  fault({"lost", "--gpu", "0", "--vanish"});
  ASSERT_TRUE(see([&](const Snapshot& s) {
    return s.gpus.size() == 2 && std::any_of(s.gpus.begin(), s.gpus.end(), [&](const Gpu& gpu) {
             return gpu.uuid == lost && gpu.unhealthy && gpu.unhealthy->reason == "gpu_lost";
           });
  }));
  EXPECT_NE(last_->gpus[0].index, last_->gpus[1].index);

  watcher_->refresh();  // whoever asks for a fresh start gets one
  EXPECT_TRUE(see([](const Snapshot& s) { return s.gpus.size() == 1; }));
  machine({"clear"});
  EXPECT_TRUE(see_ready(2));
}

TEST_F(WatcherTest, LosesOneGpuAloneToItsErrors) {
  start();
  ASSERT_TRUE(see_ready(2));
  fault({"error", "--gpu", "1", "--call", "DeviceGetMinorNumber", "--code", "999"});
  watcher_->refresh();
  ASSERT_TRUE(see_mark(1, "query_failed"));
  EXPECT_EQ(mark(0), "");
  machine({"clear"});
  EXPECT_TRUE(see_ready(2));
}

TEST_F(WatcherTest, LosesOneGpuAloneToCallsThatHang) {
  options_.call_deadline = 200ms;
  start();
  ASSERT_TRUE(see_ready(2));
  fault({"hang", "--gpu", "1", "--call", "DeviceGetMinorNumber"});
  watcher_->refresh();
  ASSERT_TRUE(see_mark(1, "nvml_stuck"));
  EXPECT_EQ(mark(0), "");
  EXPECT_EQ(last_->driver.state, DriverState::kReady);
  EXPECT_EQ(watcher_->stats().lane.hung, 1U);

  machine({"clear"});
  EXPECT_TRUE(see_ready(2));
  EXPECT_EQ(watcher_->stats().lane.hung, 0U);
}

TEST_F(WatcherTest, MarksEverythingWhileTheWholeDriverHangs) {
  options_.call_deadline = 100ms;
  start();
  ASSERT_TRUE(see_ready(2));
  fault({"hang", "--call", "*"});
  ASSERT_TRUE(see([](const Snapshot& s) { return s.driver.state == DriverState::kStuck; }));
  EXPECT_EQ(mark(0), "nvml_stuck");
  EXPECT_EQ(mark(1), "nvml_stuck");
  EXPECT_GT(watcher_->stats().lane.stuck_seconds, 0.0);
  machine({"clear"});
  EXPECT_TRUE(see_ready(2));
}

TEST_F(WatcherTest, SurvivesAnInitialisationThatHangs) {
  options_.init_deadline = 100ms;
  fault({"hang", "--call", "Init_v2"});
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return s.driver.state == DriverState::kStuck; }));
  EXPECT_THAT(last_->gpus, IsEmpty());
  machine({"clear"});
  EXPECT_TRUE(see_ready(2));
}

TEST_F(WatcherTest, StopsWhileTheDriverHangs) {
  options_.probe = 1h;
  options_.call_deadline = 1h;
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return !s.links.empty(); }) && see_watched(2));
  fault({"hang", "--call", "*"});
  std::uint64_t calls = watcher_->stats().lane.calls;
  watcher_->refresh();
  ASSERT_TRUE(loop_.run_until([&] { return watcher_->stats().lane.calls > calls; }));
  watcher_->stop();  // would wait for ever if it waited for the driver
}

TEST_F(WatcherTest, NoticesAnEventWaitThatOverrunsAndReplacesIt) {
  options_.event_grace = 20ms;
  start();
  ASSERT_TRUE(see_ready(2) && see_watched(2));
  fault({"hang", "--call", "EventSetWait_v2"});
  ASSERT_TRUE(loop_.run_until([&] { return watcher_->stats().events_overdue_seconds > 0; }));
  EXPECT_EQ(mark(0), "");
  machine({"clear"});
  EXPECT_TRUE(loop_.run_until([&] { return watcher_->stats().events_overdue_seconds == 0; }));
  ASSERT_TRUE(see_watched(2));
  fault({"xid", "48", "--event-only", "--gpu", "0"});
  EXPECT_TRUE(see_mark(0, "xid"));
}

TEST_F(WatcherTest, IsPatientWithASlowDriver) {
  fault({"slow", "--call", "*", "--ms", "3"});
  start();
  EXPECT_TRUE(see_ready(2));
  EXPECT_EQ(watcher_->stats().lane.timeouts, 0U);
}

TEST_F(WatcherTest, MarksEverythingWhenTheDriverIsUnloadedAndStartsAfreshWhenItIsBack) {
  start();
  ASSERT_TRUE(see_ready(2) && see_watched(2));
  fault({"xid", "48", "--event-only", "--gpu", "1"});
  ASSERT_TRUE(see_mark(1, "xid"));
  fault({"driver-unload"});
  ASSERT_TRUE(see([](const Snapshot& s) { return s.driver.state == DriverState::kFailed; }));
  EXPECT_EQ(mark(0), "driver_failed");
  EXPECT_EQ(mark(1), "driver_failed");
  ASSERT_TRUE(loop_.run_until([&] { return watcher_->stats().driver_start_failures > 0; }));

  fault({"driver-reload"});
  EXPECT_TRUE(see_ready(2));
  EXPECT_TRUE(see_watched(2));
  fault({"xid", "48", "--event-only", "--gpu", "0"});
  EXPECT_TRUE(see_mark(0, "xid"));
}

TEST_F(WatcherTest, PicksUpADriverThatIsLoadedLater) {
  fault({"driver-unload"});
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return s.driver.state == DriverState::kAbsent; }));
  EXPECT_THAT(last_->driver.detail, testing::HasSubstr("kernel module loaded?"));
  EXPECT_THAT(last_->gpus, IsEmpty());
  fault({"driver-reload"});
  EXPECT_TRUE(see_ready(2));
}

// As an upgrade does it: another library file, a link that now leads to it, a new kernel module.
TEST_F(WatcherTest, TakesUpANewDriverVersion) {
  library("libnvidia-ml.so.200");
  fs::path link = directory_ / "libnvidia-ml.so.1";
  fs::create_symlink("libnvidia-ml.so.100", link);
  options_.library_candidates = {link};
  start();
  ASSERT_TRUE(see_ready(2) && see_watched(2));
  EXPECT_EQ(last_->driver.library, directory_ / "libnvidia-ml.so.100");

  fault({"driver-reload", "--version", "600.10.01"});
  ASSERT_TRUE(see([](const Snapshot& s) { return s.driver.state == DriverState::kFailed; }));
  EXPECT_THAT(last_->driver.detail, testing::HasSubstr("upgraded under a running process"));
  fs::remove(link);
  fs::create_symlink("libnvidia-ml.so.200", link);
  ASSERT_TRUE(see_ready(2)) << last_->driver.detail;
  EXPECT_EQ(last_->driver.version, "600.10.01");
  EXPECT_EQ(last_->driver.library, directory_ / "libnvidia-ml.so.200");
}

TEST_F(WatcherTest, KeepsItsWordThroughFlakyCalls) {
  fault({"flaky", "--call", "DeviceGet*", "-p", "0.1", "--seed", "7"});
  start();
  for (int round = 0; round < 20; ++round) {
    std::uint64_t readings = watcher_->stats().readings;
    watcher_->refresh();
    ASSERT_TRUE(loop_.run_until([&] { return watcher_->stats().readings > readings; }));
  }
  machine({"clear"});
  EXPECT_TRUE(see_ready(2));
}

}  // namespace
}  // namespace kerf::health
