// What daemons are told, the files by which they are known, and the programs that are run.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <string>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "mps/gate.h"
#include "mps/layout.h"
#include "mps/process.h"
#include "mps/shm.h"
#include "mps/wanted.h"
#include "plan/plan.h"
#include "plan/sample_nodes.h"

namespace kerf::mps {
namespace {

namespace fs = std::filesystem;
namespace sample = plan::sample;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "kerf-mps-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name, const std::string& text, bool program = false) const {
    std::string at = path_ + "/" + name;
    std::ofstream(at) << text;
    if (program) fs::permissions(at, fs::perms::owner_all);
    return at;
  }

 private:
  std::string path_;
};

config::Config by_mps(unsigned replicas) {
  config::Config config = sample::shared(replicas);
  config.sharing_strategy = config::SharingStrategy::kMps;
  return config;
}

std::vector<Wanted> wanted(std::vector<inventory::Gpu> gpus, const config::Config& config) {
  for (std::size_t i = 0; i < gpus.size(); ++i) gpus[i].compute_major = 9;
  return wanted_daemons(plan::make_plan(sample::node(std::move(gpus)), config, 1).value());
}

// --- limits -------------------------------------------------------------------------------------

struct MemoryRow {
  std::uint64_t bytes;
  unsigned replicas;
  std::uint64_t mib;
};

TEST(Limits, MemoryIsAnEqualShareRoundedDown) {
  constexpr MemoryRow kRows[] = {
      {42949672960, 10, 4096}, {15843721216, 4, 3777}, {1 << 20, 2, 0}, {0, 4, 0}};
  for (const MemoryRow& row : kRows) {
    EXPECT_EQ(memory_share_mib(row.bytes, row.replicas), row.mib) << row.bytes;
  }
}

TEST(Limits, ThreadsAreAnEqualShareRoundedDown) {
  constexpr std::pair<std::size_t, unsigned> kRows[] = {
      {2, 50}, {3, 33}, {6, 16}, {16, 6}, {48, 2}};
  for (const auto& [replicas, percentage] : kRows) {
    EXPECT_EQ(thread_share(replicas, 1), percentage);
    EXPECT_EQ(thread_share(8 * replicas, 8), percentage);
  }
  EXPECT_EQ(thread_share(0, 0), 100U);
}

// --- commands -----------------------------------------------------------------------------------

TEST(Commands, LimitEachDeviceThenAllClients) {
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1)};
  gpus[0].memory_bytes = gpus[1].memory_bytes = 42949672960;
  const std::vector<Wanted> all = wanted(gpus, by_mps(10));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].resource, "nvidia.com/gpu");
  EXPECT_FALSE(all[0].narrowed);
  EXPECT_THAT(all[0].gpus, ElementsAre(sample::uuid(0), sample::uuid(1)));
  EXPECT_THAT(all[0].commands, ElementsAre("set_default_device_pinned_mem_limit 0 4096M",
                                           "set_default_device_pinned_mem_limit 1 4096M",
                                           "set_default_active_thread_percentage 10"));
  EXPECT_THAT(daemon_environment(all[0], "/p", "/l"),
              ElementsAre("CUDA_MPS_PIPE_DIRECTORY=/p", "CUDA_MPS_LOG_DIRECTORY=/l"));
}

TEST(Commands, LeaveOutMemoryThatIsNotKnown) {
  inventory::Gpu gpu = sample::gpu(0);
  gpu.memory_bytes.reset();
  EXPECT_THAT(wanted({gpu}, by_mps(4))[0].commands,
              ElementsAre("set_default_active_thread_percentage 25"));
}

TEST(Commands, NumberOtherGpusAsTheDaemonSeesThem) {
  config::Config config = by_mps(2);
  config.sharing.resources[0].devices = std::vector<config::DeviceRef>{config::ByIndex{1, {}}};
  std::vector<inventory::Gpu> gpus = {sample::gpu(0), sample::gpu(1)};
  gpus[1].memory_bytes = 8ULL << 30;
  const Wanted only = wanted(gpus, config).at(0);
  EXPECT_TRUE(only.narrowed);
  EXPECT_EQ(only.commands.front(), "set_default_device_pinned_mem_limit 0 4096M");
  EXPECT_EQ(daemon_environment(only, "/p", "/l").back(), "CUDA_VISIBLE_DEVICES=" + sample::uuid(1));
  EXPECT_TRUE(wanted({sample::gpu(0), sample::gpu(1, "Tesla T4")}, by_mps(2)).at(0).narrowed);
}

TEST(Commands, TakeLimitsFromTheConfiguration) {
  config::Config config = by_mps(2);
  config.sharing.resources[0].limits = {1024, 70};
  EXPECT_THAT(wanted({sample::gpu(0)}, config).at(0).commands,
              ElementsAre("set_default_device_pinned_mem_limit 0 1024M",
                          "set_default_active_thread_percentage 70"));
}

TEST(Commands, AreForResourcesSharedByMpsAlone) {
  EXPECT_THAT(wanted({sample::gpu(0)}, sample::shared(4)), IsEmpty());
  config::Config config = by_mps(2);
  config.sharing.resources[0].devices = config::FirstDevices{1};
  config.sharing.resources[0].rename = "nvidia.com/gpu.shared";
  const auto some = wanted({sample::gpu(0), sample::gpu(1)}, config);
  ASSERT_EQ(some.size(), 1U);
  EXPECT_EQ(some[0].resource, "nvidia.com/gpu.shared");
}

TEST(Files, LieWhereNvidiasDo) {
  const Layout layout("/mps", "nvidia.com/gpu");
  EXPECT_EQ(layout.pipe, "/mps/nvidia.com/gpu/pipe");
  EXPECT_EQ(layout.log, "/mps/nvidia.com/gpu/log");
  EXPECT_EQ(layout.started, "/mps/nvidia.com/gpu/.started");
  EXPECT_EQ(ready_file("/mps"), "/mps/.ready");
  EXPECT_EQ(shm_directory("/mps"), "/mps/shm");
}

// --- the gate -----------------------------------------------------------------------------------

TEST(Gate, OpensWhileTheFileIsHeldAndClosesWhenItsHolderIsGone) {
  Directory root;
  const Layout layout(root.path(), "nvidia.com/gpu");
  fs::create_directories(layout.pipe);
  EXPECT_EQ(may_be_used(root.path(), "nvidia.com/gpu").error().kind, Kind::kNotFound);
  StartedFile started;
  ASSERT_TRUE(started.raise(layout.started));
  EXPECT_TRUE(may_be_used(root.path(), "nvidia.com/gpu"));
  StartedFile second;
  EXPECT_EQ(second.raise(layout.started).error().kind, Kind::kBusy);
  started.lower();
  EXPECT_EQ(may_be_used(root.path(), "nvidia.com/gpu").error().kind, Kind::kNotFound);
  {
    StartedFile killed;
    ASSERT_TRUE(killed.raise(layout.started));
  }
  ASSERT_TRUE(fs::exists(layout.started));
  EXPECT_EQ(may_be_used(root.path(), "nvidia.com/gpu").error().kind, Kind::kGone);
  EXPECT_TRUE(second.raise(layout.started));
}

TEST(Gate, TakesTheEmptyFileOfNvidiasDaemonWhereItHasAPipe) {
  Directory root;
  const Layout layout(root.path(), "nvidia.com/gpu");
  fs::create_directories(layout.directory);
  std::ofstream(layout.started).flush();
  EXPECT_FALSE(may_be_used(root.path(), "nvidia.com/gpu"));
  fs::create_directories(layout.pipe);
  EXPECT_TRUE(may_be_used(root.path(), "nvidia.com/gpu"));
}

// --- programs -----------------------------------------------------------------------------------

TEST(Programs, GetTheirInputAndExactlyTheirEnvironment) {
  auto out = run({"/bin/sh", {"-c", "cat; echo; echo $A; env | grep -c KERF_ || true"}, {"A=b"}},
                 "no newline", milliseconds(10'000));
  ASSERT_TRUE(out) << out.error().text();
  EXPECT_EQ(*out, "no newline\nb\n0\n");
}

TEST(Programs, ThatFailSayWhy) {
  auto failed =
      run({"/bin/sh", {"-c", "echo out of luck >&2; exit 3"}, {}}, "", milliseconds(9'000));
  EXPECT_EQ(failed.error().what, "exit status 3: out of luck");
  EXPECT_EQ(run({"/no/such/program", {}, {}}, "", milliseconds(9'000)).error().kind,
            Kind::kNotFound);
}

TEST(Programs, ThatHangAreKilledWithTheirChildren) {
  Directory here;
  const std::string note = here.path() + "/pid";
  auto late = run({"/bin/sh", {"-c", "sleep 1000 & echo $! > " + note + "; wait"}, {}}, "",
                  milliseconds(300));
  ASSERT_EQ(late.error().kind, Kind::kTimeout);
  pid_t child = 0;
  std::ifstream(note) >> child;
  if (child == 0) return;  // killed before it could start one
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  auto runs = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string pid, name, state;
    return (stat >> pid >> name >> state) && state != "Z";
  };
  while (runs() && std::chrono::steady_clock::now() < deadline) usleep(1'000);
  EXPECT_FALSE(runs());
}

TEST(Programs, LeaveNoZombies) {
  auto child = Child::start({"/bin/sh", {"-c", "exit 0"}, {}});
  ASSERT_TRUE(child);
  const pid_t pid = child->pid();
  child->end(milliseconds(5'000));
  EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), -1);
}

TEST(Programs, AreFoundBelowTheDriversRootFirst) {
  Directory root, path;
  EXPECT_EQ(find_program("tool", root.path(), path.path()).error().kind, Kind::kNotFound);
  path.file("tool", "", true);
  EXPECT_EQ(find_program("tool", root.path(), "/none:" + path.path()).value(),
            path.path() + "/tool");
  fs::create_directories(root.path() + "/usr/bin");
  root.file("usr/bin/tool", "", true);
  EXPECT_EQ(find_program("tool", root.path(), path.path()).value(), root.path() + "/usr/bin/tool");
}

// --- shared memory ------------------------------------------------------------------------------

TEST(SharedMemory, IsHalfOfTheMachinesMemory) {
  constexpr std::pair<const char*, const char*> kRows[] = {
      {"MemTotal:       263845076 kB\nMemFree: 1 kB\n", "131922538k"},
      {"HugePages: 3\nMemTotal: 8 MB\n", "4m"},
      {"MemTotal: many kB\n", "65536k"},
      {"MemTotal: 100\n", "65536k"},
      {"", "65536k"}};
  for (const auto& [text, size] : kRows) EXPECT_EQ(shm_size(text), size);
}

// In namespaces of a child's own, where every user may mount.
TEST(SharedMemory, IsMountedOverWhatWasThere) {
  Directory root;
  const std::string shm = root.path() + "/shm";
  fs::create_directories(shm + "/old");
  const uid_t uid = getuid();
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
    if (uid != 0) std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
    for (int again = 0; again < 2; ++again) {
      if (Status mounted = mount_shm(shm, "1024k"); !mounted) {
        _exit(mounted.error().kind == Kind::kDenied ? 77 : 1);
      }
      if (fs::exists(shm + "/old")) _exit(2);
      std::ofstream(shm + "/old") << "x";
    }
    std::ifstream mounts("/proc/self/mounts");
    int found = 0;
    for (std::string line; std::getline(mounts, line);) {
      const bool ours = line.find(shm) != std::string::npos;
      if (ours && line.find("size=1024k") != std::string::npos &&
          line.find("nosuid,nodev,noexec,relatime") != std::string::npos) {
        ++found;
      }
    }
    _exit(found == 1 ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this machine grants no user namespace";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace kerf::mps
