// Shared state between processes, and every injected fault as a program sees it.

#include <atomic>
#include <chrono>
#include <cstring>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>

#include "abi_extra.h"
#include "sim_fixture.h"

namespace nvmlsim {
namespace {

class Faults : public SimTest {
 protected:
  EventSet watch(u64 types) {
    EventSet set = nullptr;
    EXPECT_EQ(nvmlEventSetCreate(&set), kSuccess);
    u32 count = 0;
    nvmlDeviceGetCount_v2(&count);
    for (u32 i = 0; i < count; ++i)
      EXPECT_EQ(nvmlDeviceRegisterEvents(gpu(i), types, set), kSuccess);
    return set;
  }

  // Runs `f` in a process of its own that has loaded the library anew; its result is the exit code.
  int in_another_process(const std::function<int()>& f) {
    const pid_t child = fork();
    if (child == 0) {
      unload();
      load();
      if (nvmlInit_v2() != kSuccess) _exit(99);
      _exit(f());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  u32 limit(u32 index) {
    u32 milliwatts = 0;
    EXPECT_EQ(nvmlDeviceGetPowerManagementLimit(gpu(index), &milliwatts), kSuccess);
    return milliwatts;
  }

  template <typename F>
  static bool eventually(F f) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (f()) return true;
      std::this_thread::yield();
    }
    return f();
  }
};

TEST_F(Faults, TwoProcessesShareTheLimitAndAReloadRestoresIt) {
  SKIP_UNLESS_ROOT();
  start("rtx3090x2");
  EXPECT_EQ(in_another_process([&] {
              return nvmlDeviceSetPowerManagementLimit(gpu(0), 280000) == kSuccess ? 0 : 1;
            }),
            0);
  EXPECT_EQ(limit(0), 280000U);
  EXPECT_EQ(limit(1), 350000U);
  EXPECT_EQ(nvmlDeviceSetPowerManagementLimit(gpu(0), 90000), kErrorInvalidArgument);
  EXPECT_EQ(nvmlDeviceSetPowerManagementLimit(gpu(1), 360000), kErrorInvalidArgument);
  change([](Shared& shared) { reload_driver(shared, ""); });
  u32 milliwatts = 0;
  EXPECT_EQ(nvmlSystemGetCudaDriverVersion_v2(reinterpret_cast<int*>(&milliwatts)), kErrorUnknown);
  EXPECT_EQ(nvmlShutdown(), kSuccess);
  ASSERT_EQ(nvmlInit_v2(), kSuccess);
  EXPECT_EQ(limit(0), 350000U);
  EXPECT_EQ(in_another_process([&] { return limit(0) == 350000U ? 0 : 1; }), 0);
}

TEST_F(Faults, SettersNeedRoot) {
  SKIP_UNLESS_ROOT();
  start("rtx3090x2");
  EXPECT_EQ(in_another_process([&] {
              const Device device = gpu(0);
              if (setresuid(65534, 65534, 65534) != 0) return 2;
              return nvmlDeviceSetPowerManagementLimit(device, 280000) == kErrorNoPermission &&
                             nvmlDeviceSetPersistenceMode(device, 1) == kErrorNoPermission
                         ? 0
                         : 1;
            }),
            0);
}

TEST_F(Faults, AReaderWithoutWritePermissionSeesStateAndEvents) {
  SKIP_UNLESS_ROOT();
  start("rtx3090x2");
  make_reachable("rtx3090x2");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(2);
    load(reachable_library());
    if (HasFailure() || nvmlInit_v2() != kSuccess) _exit(3);
    const EventSet set = watch(kEventXid);
    if (write(ready[1], "x", 1) != 1) _exit(4);
    EventData data{};
    if (nvmlEventSetWait_v2(set, &data, 20000) != kSuccess) _exit(5);
    _exit(data.event_data == 31 ? 0 : 6);
  }
  close(ready[1]);  // so that a child that fails is noticed
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  change([](Shared& shared) { raise_xid(shared, 1, 31, {}); });
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Faults, AnXidWakesAWaitingThread) {
  start("rtx3090x2");
  const EventSet set = watch(kEventXid);
  EventData data{};
  EXPECT_EQ(nvmlEventSetWait_v2(set, &data, 0), kErrorTimeout);
  std::atomic<bool> waiting{false};
  Return rc = kErrorUnknown;
  std::thread waiter([&] {
    waiting = true;
    rc = nvmlEventSetWait_v2(set, &data, 60000);
  });
  ASSERT_TRUE(eventually([&] { return waiting.load(); }));
  change([](Shared& shared) {
    XidOptions options;
    options.gi = 2;
    options.ci = 0;
    raise_xid(shared, 1, 31, options);
  });
  waiter.join();
  ASSERT_EQ(rc, kSuccess);
  EXPECT_EQ(data.device, gpu(1));
  EXPECT_EQ(data.event_type, kEventXid);
  EXPECT_EQ(data.event_data, 31U);
  EXPECT_EQ(data.gpu_instance_id, 2U);
  EXPECT_EQ(nvmlEventSetFree(set), kSuccess);
  EXPECT_EQ(nvmlEventSetWait_v2(set, &data, 0), kErrorInvalidArgument);
}

TEST_F(Faults, EveryEventIsDeliveredOnceInOrderToEachSet) {
  start("rtx3090x2");
  change([](Shared& shared) { raise_xid(shared, 0, 13, {}); });  // before registration: not seen
  const EventSet one = watch(kEventXid), two = watch(kEventXid);
  for (u32 xid = 100; xid < 120; ++xid)
    change([&](Shared& shared) { push_event(shared, xid % 2, kEventXid, xid); });
  for (const EventSet set : {one, two}) {
    EventData data{};
    for (u32 xid = 100; xid < 120; ++xid) {
      ASSERT_EQ(nvmlEventSetWait_v2(set, &data, 0), kSuccess);
      EXPECT_EQ(data.event_data, xid);
    }
    EXPECT_EQ(nvmlEventSetWait_v2(set, &data, 0), kErrorTimeout);
  }
}

TEST_F(Faults, RegistersOnlyWhatTheCardSupports) {
  start("rtx3090x2");
  u64 types = 0;
  ASSERT_EQ(nvmlDeviceGetSupportedEventTypes(gpu(0), &types), kSuccess);
  EXPECT_TRUE(types & kEventXid);
  EXPECT_FALSE(types & kEventDoubleBitEcc);
  EventSet set = nullptr;
  ASSERT_EQ(nvmlEventSetCreate(&set), kSuccess);
  EXPECT_EQ(nvmlDeviceRegisterEvents(gpu(0), kEventXid | kEventDoubleBitEcc, set),
            kErrorNotSupported);
}

TEST_F(Faults, Xid79LosesOneGpuAndKeepsTheOthers) {
  start("h200x8-hgx");
  const Device third = gpu(3);
  const EventSet set = watch(kEventXid);
  change([](Shared& shared) { raise_xid(shared, 3, 79, {}); });
  EventData data{};
  ASSERT_EQ(nvmlEventSetWait_v2(set, &data, 10000), kSuccess);
  EXPECT_EQ(data.event_data, 79U);
  EXPECT_EQ(nvmlEventSetWait_v2(set, &data, 10000), kErrorGpuIsLost);
  u32 value = 0, count = 0;
  EXPECT_EQ(nvmlDeviceGetPowerUsage(third, &value), kErrorGpuIsLost);
  Device device = nullptr;
  EXPECT_EQ(nvmlDeviceGetHandleByIndex_v2(3, &device), kErrorGpuIsLost);
  ASSERT_EQ(nvmlDeviceGetCount_v2(&count), kSuccess);
  EXPECT_EQ(count, 8U);
  EXPECT_EQ(nvmlDeviceGetPowerUsage(gpu(4), &value), kSuccess);
  change([](Shared& shared) { bring_back(shared, 3, 9); });
  EXPECT_EQ(nvmlDeviceGetPowerUsage(third, &value), kErrorGpuIsLost) << "an old handle is dead";
  EXPECT_EQ(nvmlDeviceGetMinorNumber(gpu(3), &value), kSuccess);
  EXPECT_EQ(value, 9U);
}

TEST_F(Faults, AVanishedGpuShiftsTheIndices) {
  start("rtx3090x2");
  XidOptions options;
  options.vanish = true;
  change([&](Shared& shared) { raise_xid(shared, 0, 79, options); });
  u32 count = 0, index = 9;
  ASSERT_EQ(nvmlDeviceGetCount_v2(&count), kSuccess);
  EXPECT_EQ(count, 1U);
  char uuid[96];
  ASSERT_EQ(nvmlDeviceGetUUID(gpu(0), uuid, sizeof(uuid)), kSuccess);
  EXPECT_STREQ(uuid, "GPU-c71e94b2-3f08-4ad5-b6e9-27d5f0831390");
  ASSERT_EQ(nvmlDeviceGetIndex(gpu(0), &index), kSuccess);
  EXPECT_EQ(index, 0U);
}

TEST_F(Faults, ApplicationXidsLeaveTheGpuAlone) {
  start("h200x8-hgx");
  for (const u32 xid : {13U, 31U, 43U, 45U, 68U, 109U})
    change([&](Shared& shared) { raise_xid(shared, 0, xid, {}); });
  u64 errors = 1;
  ASSERT_EQ(nvmlDeviceGetTotalEccErrors(gpu(0), 1, 0, &errors), kSuccess);
  EXPECT_EQ(errors, 0U);
}

TEST_F(Faults, MemoryErrorsCountAndTell) {
  start("h200x8-hgx");
  const EventSet set = watch(kEventXid | kEventDoubleBitEcc | kEventRecoveryAction);
  change([](Shared& shared) { raise_xid(shared, 2, 48, {}); });
  u64 seen = 0;
  EventData data{};
  while (nvmlEventSetWait_v2(set, &data, 0) == kSuccess) seen |= data.event_type;
  EXPECT_EQ(seen, kEventXid | kEventDoubleBitEcc | kEventRecoveryAction);
  u64 errors = 0;
  ASSERT_EQ(nvmlDeviceGetTotalEccErrors(gpu(2), 1, 1, &errors), kSuccess);
  EXPECT_EQ(errors, 1U);
  FieldValue field{};
  field.field_id = kFieldRecoveryAction;
  ASSERT_EQ(nvmlDeviceGetFieldValues(gpu(2), 1, &field), kSuccess);
  EXPECT_EQ(field.value.uint32, 1U);
  change([](Shared& shared) { raise_xid(shared, 2, 63, {}); });
  field.field_id = kFieldRemappedPending;
  ASSERT_EQ(nvmlDeviceGetFieldValues(gpu(2), 1, &field), kSuccess);
  EXPECT_EQ(field.value.uint32, 1U);
}

TEST_F(Faults, AnUnloadedDriverAndANewVersion) {
  start("rtx3090x2");
  const EventSet set = watch(kEventXid);
  change([](Shared& shared) { unload_driver(shared, 999); });
  u32 count = 0;
  EventData data{};
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), kErrorUnknown);
  EXPECT_EQ(nvmlEventSetWait_v2(set, &data, 1000), kErrorUnknown);
  EXPECT_EQ(nvmlInit_v2(), kErrorDriverNotLoaded);
  change([](Shared& shared) { reload_driver(shared, "600.10"); });
  EXPECT_EQ(nvmlDeviceGetCount_v2(&count), kErrorLibRmVersionMismatch);
  EXPECT_EQ(nvmlShutdown(), kSuccess);
  EXPECT_EQ(nvmlInit_v2(), kErrorLibRmVersionMismatch) << "this process has the old library";
  EXPECT_EQ(in_another_process([&] {
              char version[80];
              return nvmlSystemGetDriverVersion(version, sizeof(version)) == kSuccess &&
                             strcmp(version, "600.10") == 0
                         ? 0
                         : 1;
            }),
            0);
}

TEST_F(Faults, AHungCallBlocksOnlyItsGpuUntilCleared) {
  start("rtx3090x2");
  const Device zero = gpu(0), one = gpu(1);
  fault(FaultKind::kHang, 0, 0, "nvmlDeviceGetPower*");
  std::atomic<int> done{0};
  std::thread stuck([&] {
    u32 power = 0;
    done = nvmlDeviceGetPowerUsage(zero, &power) == kSuccess ? 1 : 2;
  });
  u32 power = 0, temperature = 0;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(nvmlDeviceGetPowerUsage(one, &power), kSuccess);
    EXPECT_EQ(nvmlDeviceGetTemperature(zero, 0, &temperature), kSuccess);
  }
  EXPECT_EQ(done, 0);
  change([](Shared& shared) { clear_faults(shared, 0, kNone, FaultKind::kHang); });
  stuck.join();
  EXPECT_EQ(done, 1);
}

TEST_F(Faults, ASlowCallTakesAtLeastItsTime) {
  start("rtx3090x2");
  fault(FaultKind::kSlow, kNone, 30, "nvmlDeviceGetTemperature");
  const Device device = gpu(0);
  const uint64_t before = now_ns();
  u32 value = 0;
  EXPECT_EQ(nvmlDeviceGetTemperature(device, 0, &value), kSuccess);
  EXPECT_GE(now_ns() - before, 30000000U);
}

TEST_F(Faults, AFlakyCallFailsTheSameWayForTheSameSeed) {
  start("rtx3090x2");
  std::string runs[2];
  for (std::string& run : runs) {
    change([](Shared& shared) {
      clear_faults(shared, 0, kNone, FaultKind::kUnused);
      Fault f{};
      f.kind = FaultKind::kError;
      f.gpu = kNone;
      f.value = kErrorTimeout;
      f.probability = 0.5;
      f.seed = 7;
      f.after_calls = 3;
      snprintf(f.glob, sizeof(f.glob), "nvmlDeviceGetTemperature");
      add_fault(shared, f);
    });
    u32 value = 0;
    for (int i = 0; i < 60; ++i)
      run += nvmlDeviceGetTemperature(gpu(0), 0, &value) == kErrorTimeout ? 'x' : '.';
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_EQ(runs[0].substr(0, 3), "...");
  EXPECT_NE(runs[0].find('x'), std::string::npos);
  EXPECT_NE(runs[0].find('.', 3), std::string::npos);
}

TEST_F(Faults, PowerLimitsDriftAreCappedAndRefused) {
  start("rtx3090x2");
  fault(FaultKind::kLimitDrift, 0, 300000);
  EXPECT_EQ(limit(0), 300000U);
  fault(FaultKind::kEnforced, 1, 250000);
  u32 enforced = 0;
  ASSERT_EQ(nvmlDeviceGetEnforcedPowerLimit(gpu(1), &enforced), kSuccess);
  EXPECT_EQ(enforced, 250000U);
  EXPECT_EQ(limit(1), 350000U);
  if (!root()) return;
  EXPECT_EQ(nvmlDeviceSetPowerManagementLimit(gpu(0), 320000), kSuccess);
  EXPECT_EQ(limit(0), 320000U) << "a new request ends the drift";
  fault(FaultKind::kSetterRefusal, 0, kErrorUnknown);
  EXPECT_EQ(nvmlDeviceSetPowerManagementLimit(gpu(0), 310000), kErrorUnknown);
  EXPECT_EQ(limit(0), 320000U);
}

TEST_F(Faults, HeatAndThrottleShowInTheReasons) {
  start("rtx3090x2");
  fault(FaultKind::kTemperature, 0, 97);
  u32 temperature = 0;
  u64 reasons = 0;
  ASSERT_EQ(nvmlDeviceGetTemperature(gpu(0), 0, &temperature), kSuccess);
  EXPECT_EQ(temperature, 97U);
  ASSERT_EQ(nvmlDeviceGetCurrentClocksThrottleReasons(gpu(0), &reasons), kSuccess);
  EXPECT_TRUE(reasons & kReasonHwThermal);
  change([](Shared& shared) { shared.live[1].load_pct = 100; });
  if (root()) {
    ASSERT_EQ(nvmlDeviceSetPowerManagementLimit(gpu(1), 200000), kSuccess);
    ASSERT_EQ(nvmlDeviceGetCurrentClocksThrottleReasons(gpu(1), &reasons), kSuccess);
    EXPECT_TRUE(reasons & kReasonSwPowerCap);
    u32 power = 0;
    ASSERT_EQ(nvmlDeviceGetPowerUsage(gpu(1), &power), kSuccess);
    EXPECT_LE(power, 200000U);
    EXPECT_GT(power, 190000U);
  }
}

TEST_F(Faults, LinksAndFabric) {
  start("h200x8-hgx");
  u32 active = 9;
  ASSERT_EQ(nvmlDeviceGetNvLinkState(gpu(0), 5, &active), kSuccess);
  EXPECT_EQ(active, 1U);
  XidOptions options;
  options.link = 5;
  change([&](Shared& shared) { raise_xid(shared, 0, 74, options); });
  ASSERT_EQ(nvmlDeviceGetNvLinkState(gpu(0), 5, &active), kSuccess);
  EXPECT_EQ(active, 0U);
  ASSERT_EQ(nvmlDeviceGetNvLinkState(gpu(0), 4, &active), kSuccess);
  EXPECT_EQ(active, 1U);
  fault(FaultKind::kFabricState, kNone, kFabricInProgress);
  GpuFabricInfo info{};
  ASSERT_EQ(nvmlDeviceGetGpuFabricInfo(gpu(1), &info), kSuccess);
  EXPECT_EQ(info.state, kFabricInProgress);
}

TEST_F(Faults, EndByThemselvesAndBeginLater) {
  start("rtx3090x2");
  const EventSet set = watch(kEventXid);
  Fault later{};
  later.kind = FaultKind::kLost;
  later.gpu = 0;
  later.start_ns = now_ns() + 50000000;
  later.end_ns = later.start_ns + 100000000;
  change([&](Shared& shared) { add_fault(shared, later); });
  EventData data{};
  EXPECT_EQ(nvmlEventSetWait_v2(set, &data, 20000), kErrorGpuIsLost) << "woken by the clock alone";
  EXPECT_TRUE(eventually([&] {
    Device device = nullptr;
    return nvmlDeviceGetHandleByIndex_v2(0, &device) == kSuccess;
  }));
}

TEST_F(Faults, EnergyNeverFalls) {
  start("rtx3090x2");
  u64 last = 0;
  for (int i = 0; i < 200; ++i) {
    if (i % 10 == 0) change([&](Shared& shared) { shared.live[0].load_pct = i % 100; });
    u64 energy = 0;
    ASSERT_EQ(nvmlDeviceGetTotalEnergyConsumption(gpu(0), &energy), kSuccess);
    EXPECT_GE(energy, last);
    last = energy;
  }
}

TEST_F(Faults, AWriterThatDiedAtWorkStopsNobody) {
  start("rtx3090x2");
  const pid_t child = fork();
  if (child == 0) store_.write([](Shared&) { _exit(0); });
  int status = 0;
  waitpid(child, &status, 0);
  u32 power = 0;
  EXPECT_EQ(nvmlDeviceGetPowerUsage(gpu(0), &power), kSuccess);
  change([](Shared& shared) { shared.live[0].load_pct = 50; });
  Utilization use{};
  EXPECT_EQ(nvmlDeviceGetUtilizationRates(gpu(0), &use), kSuccess);
  EXPECT_GT(use.gpu, 40U);
}

TEST_F(Faults, AProcessThatCannotCreateTheStateJoinsItOnceItExists) {
  SKIP_UNLESS_ROOT();
  make_reachable("rtx3090x2");
  load();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) != 0 || nvmlInit_v2() != kSuccess) _exit(2);
    const EventSet set = watch(kEventXid);
    if (write(ready[1], "x", 1) != 1) _exit(3);
    EventData data{};
    if (nvmlEventSetWait_v2(set, &data, 20000) != kSuccess) _exit(4);
    _exit(data.event_data == 31 ? 0 : 5);
  }
  close(ready[1]);  // so that a child that fails is noticed
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  open_store();
  change([](Shared& shared) { raise_xid(shared, 1, 31, {}); });
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace nvmlsim
