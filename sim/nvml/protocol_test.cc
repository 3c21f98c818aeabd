// Order of checks, string and array protocols, version words, what each card does not have.

#include <algorithm>
#include <cstring>

#include "abi_extra.h"
#include "sim_fixture.h"

namespace nvmlsim {
namespace {

class Protocol : public SimTest {};

TEST_F(Protocol, ChecksPointersAndHandlesBeforeAnythingElse) {
  start("rtx3090x2");
  u32 value = 0;
  EXPECT_EQ(nvmlDeviceGetPowerUsage(gpu(0), nullptr), kErrorInvalidArgument);
  EXPECT_EQ(nvmlDeviceGetPowerUsage(nullptr, &value), kErrorInvalidArgument);
  int foreign = 0;
  EXPECT_EQ(nvmlDeviceGetPowerUsage(reinterpret_cast<Device>(&foreign), &value),
            kErrorInvalidArgument);
  EXPECT_EQ(nvmlDeviceGetPowerUsage(reinterpret_cast<Device>(0x10), &value), kErrorInvalidArgument);
  auto* inside = reinterpret_cast<Device>(reinterpret_cast<char*>(gpu(0)) + 1);
  EXPECT_EQ(nvmlDeviceGetPowerUsage(inside, &value), kErrorInvalidArgument);
  EXPECT_EQ(nvmlDeviceGetCount_v2(nullptr), kErrorInvalidArgument);
  Device device = nullptr;
  EXPECT_EQ(nvmlDeviceGetHandleByIndex_v2(2, &device), kErrorInvalidArgument);
  EXPECT_EQ(nvmlDeviceGetHandleByUUID("GPU-nobody", &device), kErrorNotFound);
  EXPECT_EQ(nvmlDeviceGetHandleByPciBusId_v2("00000000:7F:00.0", &device), kErrorNotFound);
  EXPECT_EQ(nvmlDeviceGetHandleByPciBusId_v2("rubbish", &device), kErrorInvalidArgument);
}

TEST_F(Protocol, LostComesBeforeVersionAndSupport) {
  start("dgx-spark-gb10");
  const Device device = gpu(0);
  fault(FaultKind::kLost, 0);
  MemoryV2 memory{};
  EXPECT_EQ(nvmlDeviceGetMemoryInfo_v2(device, &memory), kErrorGpuIsLost);
  change([](Shared& shared) { clear_faults(shared, 0, kNone, FaultKind::kUnused); });
  EXPECT_EQ(nvmlDeviceGetMemoryInfo_v2(device, &memory), kErrorArgumentVersionMismatch);
  memory.version = version_word<MemoryV2>(2);
  EXPECT_EQ(nvmlDeviceGetMemoryInfo_v2(device, &memory), kErrorNotSupported);
}

TEST_F(Protocol, StringsAreTerminatedOrRefused) {
  start("rtx3090x2");
  char text[96];
  for (u32 length = 0; length <= 40; ++length) {
    memset(text, 'x', sizeof(text));
    const Return rc = nvmlDeviceGetUUID(gpu(0), text, length);
    if (length < 41) {
      EXPECT_EQ(rc, kErrorInsufficientSize) << length;
      EXPECT_EQ(text[0], 'x') << "written although too short";
    }
  }
  ASSERT_EQ(nvmlDeviceGetUUID(gpu(0), text, 41), kSuccess);
  EXPECT_STREQ(text, "GPU-5a3f1c0e-8d27-4b61-9c52-0e7ab4d1f390");
  ASSERT_EQ(nvmlSystemGetDriverVersion(text, sizeof(text)), kSuccess);
  EXPECT_STREQ(text, "595.71.05");
  EXPECT_EQ(nvmlSystemGetDriverVersion(text, 3), kErrorInsufficientSize);
}

TEST_F(Protocol, ListsSayHowMuchRoomTheyNeed) {
  start("rtx3090x2");
  u32 count = 0;
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &count, nullptr), kSuccess);
  change([](Shared& shared) {
    for (u32 pid = 1; pid <= 3; ++pid) {
      Process p{};
      p.pid = pid;
      p.type = 'C';
      p.gi = p.ci = kNone;
      p.memory_mib = pid * 100;
      add_process(shared, p);
    }
  });
  count = 0;
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &count, nullptr),
            kErrorInsufficientSize);
  EXPECT_EQ(count, 3U);
  ProcessInfo list[3];
  count = 2;
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &count, list), kErrorInsufficientSize);
  EXPECT_EQ(count, 3U);
  ASSERT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &count, list), kSuccess);
  EXPECT_EQ(list[2].pid, 3U);
  EXPECT_EQ(list[2].used_gpu_memory, 300ULL << 20);
  EXPECT_EQ(list[2].gpu_instance_id, kNoInstance);
}

TEST_F(Protocol, AGrowingProcessListComesTooLateAsOftenAsTold) {
  start("rtx3090x2");
  fault(FaultKind::kProcessGrowth, 0, 3);
  ProcessInfo list[8];
  for (int i = 0; i < 3; ++i) {
    u32 count = 0;
    EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &count, list),
              kErrorInsufficientSize);
  }
  u32 count = 8;
  EXPECT_EQ(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &count, list), kSuccess);
}

TEST_F(Protocol, VersionWordsAreChecked) {
  start("h200x8-hgx");
  MemoryV2 memory{};
  memory.version = sizeof(MemoryV2) | 3U << 24;
  EXPECT_EQ(nvmlDeviceGetMemoryInfo_v2(gpu(0), &memory), kErrorArgumentVersionMismatch);
  GpuFabricInfoV3 fabric{};
  fabric.version = version_word<GpuFabricInfoV3>(3);
  EXPECT_EQ(nvmlDeviceGetGpuFabricInfoV(gpu(0), reinterpret_cast<GpuFabricInfoV2*>(&fabric)),
            kSuccess);
  EXPECT_EQ(fabric.state, kFabricCompleted);
  fabric.version = version_word<GpuFabricInfoV2>(1);
  EXPECT_EQ(nvmlDeviceGetGpuFabricInfoV(gpu(0), reinterpret_cast<GpuFabricInfoV2*>(&fabric)),
            kErrorArgumentVersionMismatch);
  DeviceAddressingMode mode{version_word<DeviceAddressingMode>(1), 99};
  EXPECT_EQ(nvmlDeviceGetAddressingMode(gpu(0), &mode), kSuccess);
  EXPECT_EQ(mode.value, 0U);
}

TEST_F(Protocol, EachFieldValueHasItsOwnStatus) {
  start("rtx3090x2");
  FieldValue fields[4] = {};
  fields[0].field_id = kFieldTotalEnergy;
  fields[1].field_id = kFieldRemappedPending;
  fields[2].field_id = kFieldPowerInstant;
  fields[3].field_id = 9999;
  ASSERT_EQ(nvmlDeviceGetFieldValues(gpu(0), 4, fields), kSuccess);
  EXPECT_EQ(fields[0].nvml_return, kSuccess);
  EXPECT_EQ(fields[0].value_type, kValueU64);
  EXPECT_EQ(fields[1].nvml_return, kErrorNotSupported);
  EXPECT_EQ(fields[2].nvml_return, kSuccess);
  EXPECT_GT(fields[2].value.uint32, 10000U);
  EXPECT_EQ(fields[3].nvml_return, kErrorInvalidArgument);
  EXPECT_GT(fields[0].timestamp, 0);
}

TEST_F(Protocol, HidesWhatAnOlderDriverDoesNotHave) {
  start("t4");
  DeviceAddressingMode mode{version_word<DeviceAddressingMode>(1), 0};
  EXPECT_EQ(nvmlDeviceGetAddressingMode(gpu(0), &mode), kErrorFunctionNotFound);
}

TEST_F(Protocol, DeclaredButUnansweredFunctionsSayNotSupported) {
  select("rtx3090x2");
  load();
  auto* stub = function<Return (*)(void*, void*)>("nvmlDeviceGetVgpuUtilization");
  EXPECT_EQ(stub(nullptr, nullptr), kErrorUninitialized);
  ASSERT_EQ(nvmlInit_v2(), kSuccess);
  EXPECT_EQ(stub(nullptr, nullptr), kErrorNotSupported);
}

TEST_F(Protocol, ABadMachineFileIsRefusedWithItsLine) {
  struct Row {
    const char* text;
    const char* message;
  };
  const Row rows[] = {
      {"name: x\nsystem: {driver: 1}\ngpus:\n  - {name: A, bus_id: nonsense}\n",
       "machine.yaml:4: gpus[0].bus_id: 'nonsense' is no PCI address"},
      {"name: x\nsystem: {driver: 1}\ngpus:\n  - name: A\n    bus_id: 0000:01:00.0\n    powre: "
       "{}\n",
       "machine.yaml:6: gpus[0].powre: unknown key"},
      {"name: x\nsystem: {driver: 1}\ndefaults: {memory: {total_mib: much}}\n"
       "gpus:\n  - {name: A, bus_id: 0000:01:00.0}\n",
       "machine.yaml:3: gpus[0].memory.total_mib: expected a number, got 'much'"},
      {"name: x\nsystem: {driver: 1}\ngpus: [\n", "machine.yaml:3: missing ']'"},
      {"system: {driver: 1}\n", "machine.yaml:1: name: is missing"},
      {"name: x\nname: y\n", "machine.yaml:2: 'name' is given twice"},
      {"name: x\n\tdriver: 1\n", "machine.yaml:2: a tab cannot indent"},
      {"just text\n", "machine.yaml:1: expected 'key: value'"},
      {"", "machine.yaml:1: expected a mapping"},
      {"name: x\nsystem: {driver: 1}\ngpus:\n  - {name: A, bus_id: 0000:01:00.0, "
       "mig: {enabled: true, devices: [9g.1gb]}}\n",
       "machine.yaml:4: gpus[0].mig.devices"},
  };
  for (const Row& row : rows) {
    write_machine(row.text);
    load();
    testing::internal::CaptureStderr();
    EXPECT_NE(nvmlInit_v2(), kSuccess) << row.text;
    EXPECT_NE(nvmlInit_v2(), kSuccess) << row.text;
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find(row.message), std::string::npos) << said << "wanted " << row.message;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << "one line, once: " << said;
  }
}

}  // namespace
}  // namespace nvmlsim
