// The ABI declarations against the published tables. Sizes and offsets are asserted at compile
// time in abi.h; here are the facts a compiler cannot know: names, values, the symbol list.
#include "nvml/abi.h"

#include <set>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>

namespace kerf::nvml::abi {
namespace {

#define KERF_NAME(symbol, result, parameters) #symbol,
const char* const kSymbols[] = {KERF_NVML_SYMBOLS(KERF_NAME)};
#undef KERF_NAME

#define KERF_TYPE(symbol, result, parameters) using symbol##_type = result(*) parameters;
KERF_NVML_SYMBOLS(KERF_TYPE)
#undef KERF_TYPE

TEST(NvmlAbi, NamesEverySymbolOnceWithTheLibrarysPrefix) {
  std::set<std::string> seen;
  for (const char* symbol : kSymbols) {
    EXPECT_EQ(std::string(symbol).rfind("nvml", 0), 0U) << symbol;
    EXPECT_TRUE(seen.insert(symbol).second) << symbol << " is listed twice";
  }
  EXPECT_GE(seen.size(), 70U);
}

TEST(NvmlAbi, AsksForTheVersionedNameWhereOneExists) {
  const std::set<std::string> seen(std::begin(kSymbols), std::end(kSymbols));
  for (const char* symbol : {"nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetPciInfo_v3",
                             "nvmlEventSetWait_v2", "nvmlDeviceGetComputeRunningProcesses_v3",
                             "nvmlDeviceGetNvLinkRemotePciInfo_v2", "nvmlDeviceGetAttributes_v2"}) {
    EXPECT_TRUE(seen.count(symbol)) << symbol;
  }
  for (const char* symbol : {"nvmlInit", "nvmlDeviceGetCount", "nvmlEventSetWait"}) {
    EXPECT_FALSE(seen.count(symbol)) << symbol << " has the older layout";
  }
}

TEST(NvmlAbi, ReturnsAreThirtyTwoBitsWideAsInTheLibrary) {
  static_assert(std::is_same_v<std::underlying_type_t<Return>, u32>);
  static_assert(std::is_same_v<nvmlErrorString_type, const char* (*)(Return)>);
  EXPECT_EQ(static_cast<u32>(kErrorUnknown), 999U);
  EXPECT_EQ(static_cast<u32>(kErrorResetTypeNotSupported), 30U);
}

TEST(NvmlAbi, VersionWordsHoldSizeAndVersion) {
  struct Row {
    u32 got, want;
    const char* name;
  };
  const Row rows[] = {
      {version_word<MemoryV2>(2), 0x02000028, "Memory_v2"},
      {version_word<GpuInstanceProfileInfoV2>(2), 0x02000098, "GpuInstanceProfileInfo_v2"},
      {version_word<GpuFabricInfoV2>(2), 0x02000024, "GpuFabricInfo_v2"},
      {version_word<GpuFabricInfoV3>(3), 0x03000028, "GpuFabricInfo_v3"},
      {version_word<DeviceAddressingMode>(1), 0x01000008, "DeviceAddressingMode_v1"},
  };
  for (const Row& row : rows) EXPECT_EQ(row.got, row.want) << row.name;
}

TEST(NvmlAbi, EnumerationsCarryThePublishedValues) {
  EXPECT_EQ(kArchBlackwell, 10U);
  EXPECT_EQ(kBrandGeforce, 5U);
  EXPECT_EQ(kBrandNvidia, 14U);
  EXPECT_EQ(kTopologyHostBridge, 30U);
  EXPECT_EQ(kEventXid, 8U);
  EXPECT_EQ(kEventRecoveryAction, 0x8000U);
  EXPECT_EQ(kProfile1SliceDoubleMemory, 9U);
  EXPECT_EQ(kFabricCompleted, 3U);
  EXPECT_EQ(kReasonHwPowerBrake, 0x80U);
}

}  // namespace
}  // namespace kerf::nvml::abi
