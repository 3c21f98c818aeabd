// Multi-instance GPU and the shipped machines' facts.

#include "mig.h"

#include <cstring>
#include <set>

#include "abi_extra.h"
#include "sim_fixture.h"

namespace nvmlsim {
namespace {

class Mig : public SimTest {
 protected:
  std::vector<Device> devices(Device parent) {
    std::vector<Device> list;
    for (u32 i = 0; i < 7; ++i) {
      Device mig = nullptr;
      if (nvmlDeviceGetMigDeviceHandleByIndex(parent, i, &mig) == kSuccess) list.push_back(mig);
    }
    return list;
  }
  std::string uuid(Device device) {
    char text[96] = "";
    EXPECT_EQ(nvmlDeviceGetUUID(device, text, sizeof(text)), kSuccess);
    return text;
  }
};

TEST_F(Mig, DeclaredDevicesAreThereWithTheirSizes) {
  start("a100-80x1-mig");
  const Device parent = gpu(0);
  u32 current = 0, pending = 0, most = 0;
  ASSERT_EQ(nvmlDeviceGetMigMode(parent, &current, &pending), kSuccess);
  EXPECT_EQ(current, 1U);
  ASSERT_EQ(nvmlDeviceGetMaxMigDeviceCount(parent, &most), kSuccess);
  EXPECT_EQ(most, 7U);
  struct Row {
    const char* name;
    u64 memory_mib;
    u32 sms, slices;
  };
  const Row rows[] = {{"1g.10gb", 9856, 14, 1},
                      {"1g.10gb", 9856, 14, 1},
                      {"2g.20gb", 19968, 28, 2},
                      {"3g.40gb", 40192, 42, 3}};
  const std::vector<Device> list = devices(parent);
  ASSERT_EQ(list.size(), 4U);
  std::set<std::string> uuids;
  for (size_t i = 0; i < list.size(); ++i) {
    DeviceAttributes a{};
    ASSERT_EQ(nvmlDeviceGetAttributes_v2(list[i], &a), kSuccess);
    EXPECT_EQ(a.memory_size_mb, rows[i].memory_mib);
    EXPECT_EQ(a.multiprocessor_count, rows[i].sms);
    EXPECT_EQ(a.gpu_instance_slice_count, rows[i].slices);
    char name[96];
    ASSERT_EQ(nvmlDeviceGetName(list[i], name, sizeof(name)), kSuccess);
    EXPECT_NE(strstr(name, rows[i].name), nullptr) << name;
    EXPECT_EQ(uuid(list[i]).rfind("MIG-", 0), 0U);
    uuids.insert(uuid(list[i]));
    Device up = nullptr, again = nullptr;
    ASSERT_EQ(nvmlDeviceGetDeviceHandleFromMigDeviceHandle(list[i], &up), kSuccess);
    EXPECT_EQ(up, parent);
    ASSERT_EQ(nvmlDeviceGetHandleByUUID(uuid(list[i]).c_str(), &again), kSuccess);
    EXPECT_EQ(again, list[i]);
    u32 is_mig = 0, power = 0;
    ASSERT_EQ(nvmlDeviceIsMigDeviceHandle(list[i], &is_mig), kSuccess);
    EXPECT_EQ(is_mig, 1U);
    EXPECT_EQ(nvmlDeviceGetPowerUsage(list[i], &power), kErrorNotSupported);
  }
  EXPECT_EQ(uuids.size(), 4U);
  Utilization use{};
  EXPECT_EQ(nvmlDeviceGetUtilizationRates(parent, &use), kErrorNotSupported);
  Device hole = nullptr;
  EXPECT_EQ(nvmlDeviceGetMigDeviceHandleByIndex(parent, 5, &hole), kErrorNotFound);
}

TEST_F(Mig, InstancesAreMadeAndRemovedUnderThePlacementRules) {
  SKIP_UNLESS_ROOT();
  start("a100-80x8");
  const Device parent = gpu(0);
  auto* set_mode = function<Return (*)(Device, u32, Return*)>("nvmlDeviceSetMigMode");
  auto* create = function<Return (*)(Device, u32, GpuInstance*)>("nvmlDeviceCreateGpuInstance");
  auto* create_at = function<Return (*)(Device, u32, const GpuInstancePlacement*, GpuInstance*)>(
      "nvmlDeviceCreateGpuInstanceWithPlacement");
  auto* destroy = function<Return (*)(GpuInstance)>("nvmlGpuInstanceDestroy");
  auto* create_ci = function<Return (*)(GpuInstance, u32, ComputeInstance*)>(
      "nvmlGpuInstanceCreateComputeInstance");
  auto* destroy_ci = function<Return (*)(ComputeInstance)>("nvmlComputeInstanceDestroy");
  auto* capacity =
      function<Return (*)(Device, u32, u32*)>("nvmlDeviceGetGpuInstanceRemainingCapacity");
  GpuInstance half = nullptr, other = nullptr, third = nullptr;
  EXPECT_EQ(create(parent, 9, &half), kErrorNotSupported) << "MIG is off";
  u32 most = 9;
  EXPECT_EQ(nvmlDeviceGetMaxMigDeviceCount(parent, &most), kSuccess);
  EXPECT_EQ(most, 0U) << "none can exist while MIG is off";
  Return activation = kErrorUnknown;
  ASSERT_EQ(set_mode(parent, 1, &activation), kSuccess);
  EXPECT_EQ(activation, kSuccess);
  const GpuInstancePlacement wrong{1, 4}, right{4, 4};
  EXPECT_EQ(create_at(parent, 9, &wrong, &half), kErrorInvalidArgument);
  ASSERT_EQ(create_at(parent, 9, &right, &half), kSuccess);
  EXPECT_EQ(create_at(parent, 9, &right, &other), kErrorInsufficientResources);
  ASSERT_EQ(create(parent, 9, &other), kSuccess);
  EXPECT_EQ(create(parent, 19, &third), kErrorInsufficientResources);
  u32 left = 9;
  ASSERT_EQ(capacity(parent, 19, &left), kSuccess);
  EXPECT_EQ(left, 0U);
  ComputeInstance one = nullptr, two = nullptr;
  ASSERT_EQ(create_ci(half, 1, &one), kSuccess);
  EXPECT_EQ(create_ci(half, 2, &two), kErrorInsufficientResources);
  ASSERT_EQ(create_ci(half, 0, &two), kSuccess);
  EXPECT_EQ(devices(parent).size(), 2U);
  EXPECT_EQ(destroy(half), kErrorInUse);
  EXPECT_EQ(set_mode(parent, 0, &activation), kErrorInUse);
  const std::vector<Device> before = devices(parent);
  const std::string old_uuid = uuid(before[0]);
  ASSERT_EQ(destroy_ci(one), kSuccess);
  EXPECT_EQ(destroy_ci(one), kErrorInvalidArgument) << "the handle is dead";
  ASSERT_EQ(create_ci(half, 1, &one), kSuccess);
  for (const Device device : devices(parent)) EXPECT_NE(uuid(device), old_uuid) << "never reused";
  ASSERT_EQ(destroy_ci(one), kSuccess);
  ASSERT_EQ(destroy_ci(two), kSuccess);
  EXPECT_EQ(destroy(half), kSuccess);
  EXPECT_EQ(destroy(other), kSuccess);
  ASSERT_EQ(set_mode(parent, 0, &activation), kSuccess);
}

TEST_F(Mig, ProfilesAreAskedByNumberAndCreatedById) {
  start("h200x8-hgx");
  GpuInstanceProfileInfo info{};
  u32 found = 0;
  for (u32 profile = 0; profile < kGpuInstanceProfileCount; ++profile) {
    const Return rc = nvmlDeviceGetGpuInstanceProfileInfo(gpu(0), profile, &info);
    EXPECT_TRUE(rc == kSuccess || rc == kErrorNotSupported);
    found += rc == kSuccess;
  }
  EXPECT_EQ(found, 7U);
  ASSERT_EQ(nvmlDeviceGetGpuInstanceProfileInfo(gpu(0), kProfile3Slice, &info), kSuccess);
  EXPECT_EQ(info.id, 9U);
  EXPECT_EQ(info.memory_size_mb, 71168U);
  EXPECT_EQ(nvmlDeviceGetGpuInstanceProfileInfo(gpu(0), kGpuInstanceProfileCount, &info),
            kErrorInvalidArgument);
  GpuInstanceProfileInfoV2 named{};
  named.version = version_word<GpuInstanceProfileInfoV2>(2);
  ASSERT_EQ(nvmlDeviceGetGpuInstanceProfileInfoV(gpu(0), kProfile1Slice, &named), kSuccess);
  EXPECT_STREQ(named.name, "MIG 1g.18gb");
}

class Machines : public SimTest {};

TEST_F(Machines, HaveTheDeclaredCards) {
  struct Row {
    const char* machine;
    u32 count;
    const char* name;
    u32 major, minor, architecture, brand;
    Return memory, limit, mig, ecc, serial;
  };
  constexpr Return no = kErrorNotSupported, yes = kSuccess;
  const Row rows[] = {
      {"rtx3090x2", 2, "NVIDIA GeForce RTX 3090", 8, 6, 7, 5, yes, yes, no, no, no},
      {"rtx3090x1", 1, "NVIDIA GeForce RTX 3090", 8, 6, 7, 5, yes, yes, no, no, no},
      {"h200x8-hgx", 8, "NVIDIA H200", 9, 0, 9, 14, yes, yes, yes, yes, yes},
      {"a100-80x8", 8, "NVIDIA A100-SXM4-80GB", 8, 0, 7, 14, yes, yes, yes, yes, yes},
      {"a100-80x1-mig", 1, "NVIDIA A100-SXM4-80GB", 8, 0, 7, 14, yes, yes, yes, yes, yes},
      {"t4", 1, "Tesla T4", 7, 5, 6, 2, yes, yes, no, yes, yes},
      {"dgx-spark-gb10", 1, "NVIDIA GB10", 12, 1, 10, 14, no, no, no, no, no},
      {"dual-baseboard-16", 16, "NVIDIA H200", 9, 0, 9, 14, yes, yes, yes, yes, yes},
      {"mixed", 2, "NVIDIA GeForce RTX 3090", 8, 6, 7, 5, yes, yes, no, no, no},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.machine);
    start(row.machine);
    u32 count = 0, value = 0, pending = 0;
    ASSERT_EQ(nvmlDeviceGetCount_v2(&count), kSuccess);
    EXPECT_EQ(count, row.count);
    char text[96];
    ASSERT_EQ(nvmlDeviceGetName(gpu(0), text, sizeof(text)), kSuccess);
    EXPECT_STREQ(text, row.name);
    int major = 0, minor = 0;
    ASSERT_EQ(nvmlDeviceGetCudaComputeCapability(gpu(0), &major, &minor), kSuccess);
    EXPECT_EQ(major, static_cast<int>(row.major));
    EXPECT_EQ(minor, static_cast<int>(row.minor));
    ASSERT_EQ(nvmlDeviceGetArchitecture(gpu(0), &value), kSuccess);
    EXPECT_EQ(value, row.architecture);
    ASSERT_EQ(nvmlDeviceGetBrand(gpu(0), &value), kSuccess);
    EXPECT_EQ(value, row.brand);
    Memory memory{};
    EXPECT_EQ(nvmlDeviceGetMemoryInfo(gpu(0), &memory), row.memory);
    EXPECT_EQ(nvmlDeviceGetPowerManagementLimit(gpu(0), &value), row.limit);
    EXPECT_EQ(nvmlDeviceGetMigMode(gpu(0), &value, &pending), row.mig);
    EXPECT_EQ(nvmlDeviceGetEccMode(gpu(0), &value, &pending), row.ecc);
    EXPECT_EQ(nvmlDeviceGetSerial(gpu(0), text, sizeof(text)), row.serial);
    EXPECT_EQ(nvmlDeviceGetPowerUsage(gpu(0), &value), kSuccess);
    EXPECT_GT(value, 1000U);
    for (u32 i = 0; i < count; ++i) {
      PciInfo pci{};
      ASSERT_EQ(nvmlDeviceGetPciInfo_v3(gpu(i), &pci), kSuccess);
      Device again = nullptr;
      ASSERT_EQ(nvmlDeviceGetHandleByPciBusId_v2(pci.bus_id, &again), kSuccess);
      EXPECT_EQ(again, gpu(i));
      EXPECT_EQ(pci.pci_device_id & 0xFFFFU, 0x10DEU);
    }
    store_.close();
  }
}

TEST_F(Machines, ANodeWithoutGpusHasNoDriver) {
  select("none");
  load();
  EXPECT_EQ(nvmlInit_v2(), kErrorDriverNotLoaded);
}

TEST_F(Machines, EightH200HangTogetherByEighteenLinksToFourSwitches) {
  start("h200x8-hgx");
  std::set<std::string> switches;
  for (u32 link = 0; link < 18; ++link) {
    u32 active = 0, type = 0;
    PciInfo remote{};
    ASSERT_EQ(nvmlDeviceGetNvLinkState(gpu(7), link, &active), kSuccess);
    ASSERT_EQ(nvmlDeviceGetNvLinkRemoteDeviceType(gpu(7), link, &type), kSuccess);
    EXPECT_EQ(type, kNvLinkToSwitch);
    ASSERT_EQ(nvmlDeviceGetNvLinkRemotePciInfo_v2(gpu(7), link, &remote), kSuccess);
    EXPECT_EQ(remote.pci_device_id, 0x22A310DEU);
    switches.insert(remote.bus_id);
  }
  EXPECT_EQ(switches.size(), 4U);
  u32 active = 0, level = 0, modules = 0;
  EXPECT_EQ(nvmlDeviceGetNvLinkState(gpu(7), 18, &active), kErrorInvalidArgument);
  ASSERT_EQ(nvmlDeviceGetTopologyCommonAncestor(gpu(0), gpu(1), &level), kSuccess);
  EXPECT_EQ(level, kTopologyNode);
  ASSERT_EQ(nvmlDeviceGetTopologyCommonAncestor(gpu(0), gpu(7), &level), kSuccess);
  EXPECT_EQ(level, kTopologySystem);
  std::set<u32> seen;
  for (u32 i = 0; i < 8; ++i) {
    ASSERT_EQ(nvmlDeviceGetModuleId(gpu(i), &modules), kSuccess);
    seen.insert(modules);
  }
  EXPECT_EQ(seen.size(), 8U);
  EXPECT_EQ(*seen.rbegin(), 8U);
  GpuFabricInfo fabric{};
  ASSERT_EQ(nvmlDeviceGetGpuFabricInfo(gpu(0), &fabric), kSuccess);
  EXPECT_EQ(fabric.state, kFabricCompleted);
}

}  // namespace
}  // namespace nvmlsim
