// The watcher against a machine that is described in a file and answers through the real ABI. Each
// test has a machine of its own; faults are made with the machine's own tool.
#include "health/watcher.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inventory/differ.h"

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

class WatcherTest : public testing::Test {
 protected:
  WatcherTest() {
    std::string pattern = (fs::temp_directory_path() / "kerf-watcher-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    fs::create_directories(directory_ / "state");
    use_machine("rtx3090x2");
    setenv("NVML_SIM_STATE", (directory_ / "state").c_str(), 1);
    options_.library_candidates = {KERF_NVML_LIBRARY};
    options_.roots = Roots::below((directory_ / "root").string());
    options_.retry = 20ms;
    options_.probe = 20ms;
    options_.event_wait = 50ms;
    options_.init_deadline = 10s;
    options_.call_deadline = 10s;
  }

  ~WatcherTest() override {
    watcher_.reset();
    loop_.run_until([] { return true; });
    fs::remove_all(directory_);
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

  fs::path directory_;
  WatcherOptions options_;
  Loop loop_;
  SnapshotPtr last_;
  std::unique_ptr<Watcher> watcher_;
};

std::size_t count_entries(const std::string& name) {
  fs::directory_iterator entries(Roots::below("/").proc + "/self/" + name);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

TEST_F(WatcherTest, ReadsTwoConsumerGpusAndTheirLinks) {
  write("root/sys/bus/pci/devices/0000:01:00.0/numa_node", "0\n");
  write("root/sys/bus/pci/devices/0000:02:00.0/numa_node", "-1\n");
  start();
  ASSERT_TRUE(see([](const Snapshot& s) { return !s.links.empty(); }));

  EXPECT_EQ(last_->driver.state, DriverState::kReady);
  EXPECT_EQ(last_->driver.version, "595.71.05");
  EXPECT_EQ(last_->driver.cuda_version, 13020);
  EXPECT_EQ(last_->driver.library, KERF_NVML_LIBRARY);
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
  fs::create_symlink(KERF_NVML_LIBRARY, place);
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
  loop_.run_until([&] { return count_entries("task") == 1; }, 2s);
  std::size_t threads = count_entries("task");
  std::size_t descriptors = count_entries("fd");
  for (int life = 0; life < 100; ++life) {
    last_.reset();
    start();
    ASSERT_TRUE(see_ready(2)) << "life " << life;
    watcher_.reset();
  }
  EXPECT_TRUE(loop_.run_until([&] { return count_entries("task") <= threads; }))
      << count_entries("task");
  EXPECT_LE(count_entries("fd"), descriptors);
}

}  // namespace
}  // namespace kerf::health
