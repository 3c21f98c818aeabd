// The library as a file: what it exports, how it loads and unloads, forks, and refuses.

#include <atomic>
#include <cstdio>
#include <cstring>
#include <pthread.h>
#include <sys/wait.h>
#include <thread>

#include "abi_extra.h"
#include "sim_fixture.h"

namespace nvmlsim {
namespace {

const char* const kNames[] = {
#define NAME(name) #name,
#include "exported_names.inc"
#undef NAME
};

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (size_t n = fread(buffer, 1, sizeof(buffer), pipe)) out.append(buffer, n);
  pclose(pipe);
  return out;
}

class Library : public SimTest {};

TEST_F(Library, ExportsEveryNameOfTheInterfaceTables) {
  load();
  for (const char* name : kNames) EXPECT_NE(dlsym(library_, name), nullptr) << name;
#define PRESENT(symbol, result, parameters) EXPECT_NE(symbol, nullptr) << #symbol;
  KERF_NVML_SYMBOLS(PRESENT)
#undef PRESENT
}

TEST_F(Library, ExportsNothingElseAndNeedsOnlyLibc) {
  const std::string symbols = output_of("nm -D --defined-only " NVML_SIM_LIBRARY);
  ASSERT_FALSE(symbols.empty());
  for (size_t at = 0; at < symbols.size();) {
    const size_t end = symbols.find('\n', at);
    const std::string line = symbols.substr(at, end - at);
    EXPECT_NE(line.find(" T nvml"), std::string::npos) << line;
    at = end + 1;
  }
  const std::string needs = output_of("readelf -d " NVML_SIM_LIBRARY);
  EXPECT_NE(needs.find("[libnvidia-ml.so.1]"), std::string::npos);
  for (const char* unwanted : {"libstdc++", "libgcc_s", "yaml", "grpc"})
    EXPECT_EQ(needs.find(unwanted), std::string::npos) << unwanted;
}

TEST_F(Library, AnswersUninitializedBeforeInitAndAfterTheLastShutdown) {
  select("rtx3090x2");
  load();
  u32 count = 0;
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), kErrorUninitialized);
  EXPECT_EQ(nvmlShutdown(), kErrorUninitialized);
  EXPECT_EQ(nvmlInit_v2(), kSuccess);
  EXPECT_EQ(nvmlInit_v2(), kSuccess);
  EXPECT_EQ(nvmlShutdown(), kSuccess);
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), kSuccess);
  EXPECT_EQ(nvmlShutdown(), kSuccess);
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), kErrorUninitialized);
}

TEST_F(Library, SurvivesManyLoadsAndUnloads) {
  select("rtx3090x2");
  for (int i = 0; i < 200; ++i) {
    load();
    ASSERT_EQ(nvmlInit_v2(), kSuccess);
    Device device = gpu(1);
    u32 power = 0;
    ASSERT_EQ(nvmlDeviceGetPowerUsage(device, &power), kSuccess);
    ASSERT_EQ(nvmlShutdown(), kSuccess);
    unload();
  }
  const std::string maps = output_of("cat /proc/" + std::to_string(getpid()) + "/maps");
  EXPECT_EQ(maps.find("libnvidia-ml"), std::string::npos) << "dlclose did not unload it";
  EXPECT_EQ(maps.find(directory_), std::string::npos) << "the state stayed mapped";
}

TEST_F(Library, StartsNoThreads) {
  start("rtx3090x2");
  const std::string before = output_of("ls /proc/" + std::to_string(getpid()) + "/task");
  for (u32 i = 0; i < 2; ++i) {
    u32 power = 0;
    nvmlDeviceGetPowerUsage(gpu(i), &power);
  }
  EXPECT_EQ(output_of("ls /proc/" + std::to_string(getpid()) + "/task"), before);
}

TEST_F(Library, WorksInAForkedChildWhileOtherThreadsCall) {
  start("rtx3090x2");
  Device device = gpu(0);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      nvmlInit_v2();
      nvmlShutdown();
    }
  });
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      u32 power = 0;
      const bool ok =
          nvmlInit_v2() == kSuccess && nvmlDeviceGetPowerUsage(device, &power) == kSuccess;
      _exit(ok ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  stop = true;
  busy.join();
}

TEST_F(Library, CanBeCalledFromManyThreads) {
  start("h200x8-hgx");
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (u32 t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        Device device = nullptr;
        u32 value = 0;
        failures += nvmlDeviceGetHandleByIndex_v2(t, &device) != kSuccess;
        failures += nvmlDeviceGetTemperature(device, 0, &value) != kSuccess;
      }
    });
  for (int i = 0; i < 50; ++i) change([](Shared& shared) { raise_xid(shared, 0, 31, {}); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(Library, ErrorStringsAreNeverNull) {
  load();
  for (u32 code = 0; code < 1100; ++code)
    ASSERT_NE(nvmlErrorString(static_cast<Return>(code)), nullptr) << code;
  EXPECT_STREQ(nvmlErrorString(kErrorGpuIsLost), "GPU is lost");
}

// Callers built against old headers hand in smaller records; nothing may be written behind them.
struct Guarded {
  unsigned char bytes[256];
  Guarded() { memset(bytes, 0xAB, sizeof(bytes)); }
  bool intact_from(size_t offset) const {
    for (size_t i = offset; i < sizeof(bytes); ++i)
      if (bytes[i] != 0xAB) return false;
    return true;
  }
};

TEST_F(Library, OldLayoutsAreNotOverrun) {
  start("rtx3090x2");
  change([](Shared& shared) {
    Process p{};
    p.pid = 77;
    p.type = 'C';
    p.gi = p.ci = kNone;
    p.memory_mib = 10;
    add_process(shared, p);
  });
  Guarded g;
  u32 count = 1;
  auto* old_list =
      function<Return (*)(Device, u32*, void*)>("nvmlDeviceGetComputeRunningProcesses");
  ASSERT_EQ(old_list(gpu(0), &count, g.bytes), kSuccess);
  EXPECT_TRUE(g.intact_from(16)) << "process list";
  g = Guarded();
  ASSERT_EQ(nvmlDeviceGetMemoryInfo(gpu(0), reinterpret_cast<Memory*>(g.bytes)), kSuccess);
  EXPECT_TRUE(g.intact_from(24)) << "memory";
  g = Guarded();
  auto* old_pci = function<Return (*)(Device, void*)>("nvmlDeviceGetPciInfo");
  ASSERT_EQ(old_pci(gpu(0), g.bytes), kSuccess);
  EXPECT_TRUE(g.intact_from(36)) << "PCI info";
  EventSet set = nullptr;
  ASSERT_EQ(nvmlEventSetCreate(&set), kSuccess);
  ASSERT_EQ(nvmlDeviceRegisterEvents(gpu(0), kEventXid, set), kSuccess);
  change([](Shared& shared) { raise_xid(shared, 0, 31, {}); });
  g = Guarded();
  auto* old_wait = function<Return (*)(EventSet, void*, u32)>("nvmlEventSetWait");
  ASSERT_EQ(old_wait(set, g.bytes, 10000), kSuccess);
  EXPECT_TRUE(g.intact_from(24)) << "event data";
}

}  // namespace
}  // namespace nvmlsim
