// The binary interface of NVIDIA's management library, as far as we speak it: return codes,
// constants, structures and the list of functions we call. Declarations are our own; sizes and
// offsets are asserted here, so a mistake does not compile. This file declares an ABI and nothing
// else: no loading, no policy. It is self-contained (also outside src/) and holds no code.
//
// Source of the facts: NVML API reference (driver 580), layouts measured on x86-64; arm64 is the
// same (8-byte pointers, natural alignment).
//
// Units everywhere: power mW, energy mJ, clocks MHz, memory bytes, temperature degrees Celsius,
// utilisation percent.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kerf::nvml::abi {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// Opaque handles. A device handle stays valid from init to the last shutdown.
struct DeviceOpaque;
struct GpuInstanceOpaque;
struct ComputeInstanceOpaque;
struct EventSetOpaque;
struct GpmSampleOpaque;
using Device = DeviceOpaque*;
using GpuInstance = GpuInstanceOpaque*;
using ComputeInstance = ComputeInstanceOpaque*;
using EventSet = EventSetOpaque*;
using GpmSample = GpmSampleOpaque*;

// What every function returns, nvmlErrorString apart. Other values may appear: drivers add codes.
enum Return : u32 {
  kSuccess = 0,
  kErrorUninitialized = 1,
  kErrorInvalidArgument = 2,
  kErrorNotSupported = 3,
  kErrorNoPermission = 4,
  kErrorAlreadyInitialized = 5,
  kErrorNotFound = 6,
  kErrorInsufficientSize = 7,
  kErrorInsufficientPower = 8,
  kErrorDriverNotLoaded = 9,
  kErrorTimeout = 10,
  kErrorIrqIssue = 11,
  kErrorLibraryNotFound = 12,
  kErrorFunctionNotFound = 13,
  kErrorCorruptedInforom = 14,
  kErrorGpuIsLost = 15,
  kErrorResetRequired = 16,
  kErrorOperatingSystem = 17,
  kErrorLibRmVersionMismatch = 18,
  kErrorInUse = 19,
  kErrorMemory = 20,
  kErrorNoData = 21,
  kErrorVgpuEccNotSupported = 22,
  kErrorInsufficientResources = 23,
  kErrorFreqNotSupported = 24,
  kErrorArgumentVersionMismatch = 25,
  kErrorDeprecated = 26,
  kErrorNotReady = 27,
  kErrorGpuNotFound = 28,
  kErrorInvalidState = 29,
  kErrorResetTypeNotSupported = 30,
  kErrorUnknown = 999,
};

// Buffer sizes that callers of string functions should offer, terminating zero included.
inline constexpr u32 kPciBusIdSize = 32;
inline constexpr u32 kPciBusIdLegacySize = 16;
inline constexpr u32 kUuidSize = 96;
inline constexpr u32 kNameSize = 96;
inline constexpr u32 kSerialSize = 30;
inline constexpr u32 kVersionSize = 80;
inline constexpr u32 kPartNumberSize = 80;
inline constexpr u32 kVbiosSize = 32;
inline constexpr u32 kInforomSize = 16;
inline constexpr u32 kFabricUuidSize = 16;
inline constexpr u32 kNvLinkMaxLinks = 36;

// "No such instance": the GPU or compute instance id of what belongs to the whole GPU.
inline constexpr u32 kNoInstance = 0xFFFFFFFFU;
inline constexpr u64 kValueNotAvailable = 0xFFFFFFFFFFFFFFFFULL;

enum InitFlag : u32 { kInitNoGpus = 1, kInitNoAttach = 2, kInitForce = 4 };
enum EnableState : u32 { kDisabled = 0, kEnabled = 1 };

enum Brand : u32 {
  kBrandUnknown = 0,
  kBrandQuadro = 1,
  kBrandTesla = 2,
  kBrandNvs = 3,
  kBrandGrid = 4,
  kBrandGeforce = 5,
  kBrandTitan = 6,
  kBrandVapps = 7,
  kBrandVpc = 8,
  kBrandVcs = 9,
  kBrandVws = 10,
  kBrandCloudGaming = 11,
  kBrandQuadroRtx = 12,
  kBrandNvidiaRtx = 13,
  kBrandNvidia = 14,
  kBrandGeforceRtx = 15,
  kBrandTitanRtx = 16,
};

enum Architecture : u32 {
  kArchKepler = 2,
  kArchMaxwell = 3,
  kArchPascal = 4,
  kArchVolta = 5,
  kArchTuring = 6,
  kArchAmpere = 7,
  kArchAda = 8,
  kArchHopper = 9,
  kArchBlackwell = 10,
  kArchRubin = 13,
  kArchUnknown = 0xFFFFFFFFU,
};

enum TopologyLevel : u32 {
  kTopologyInternal = 0,
  kTopologySingleSwitch = 10,
  kTopologyMultipleSwitches = 20,
  kTopologyHostBridge = 30,
  kTopologyNode = 40,
  kTopologySystem = 50,
};

// Bits of an event mask; one of them is the eventType of what a wait delivers.
enum EventType : u64 {
  kEventSingleBitEcc = 0x1,
  kEventDoubleBitEcc = 0x2,
  kEventPState = 0x4,
  kEventXid = 0x8,
  kEventClock = 0x10,
  kEventPowerSource = 0x80,
  kEventMigConfig = 0x100,
  kEventSingleBitEccStorm = 0x200,
  kEventDramRetirement = 0x400,
  kEventDramRetirementFailure = 0x800,
  kEventNonFatalPoison = 0x1000,
  kEventFatalPoison = 0x2000,
  kEventGpuUnavailable = 0x4000,
  kEventRecoveryAction = 0x8000,
};

// Bits of nvmlDeviceGetCurrentClocksThrottleReasons.
enum ClockReason : u64 {
  kReasonGpuIdle = 0x1,
  kReasonApplicationClocks = 0x2,
  kReasonSwPowerCap = 0x4,
  kReasonHwSlowdown = 0x8,
  kReasonSyncBoost = 0x10,
  kReasonSwThermal = 0x20,
  kReasonHwThermal = 0x40,
  kReasonHwPowerBrake = 0x80,
  kReasonDisplayClock = 0x100,
};

enum ClockType : u32 { kClockGraphics = 0, kClockSm = 1, kClockMem = 2, kClockVideo = 3 };
enum TemperatureSensor : u32 { kTemperatureGpu = 0 };
enum TemperatureThreshold : u32 {
  kThresholdShutdown = 0,
  kThresholdSlowdown = 1,
  kThresholdMemMax = 2,
  kThresholdGpuMax = 3,
};
enum ComputeMode : u32 {
  kComputeDefault = 0,
  kComputeExclusiveThread = 1,
  kComputeProhibited = 2,
  kComputeExclusiveProcess = 3,
};
enum MemoryErrorType : u32 { kErrorsCorrected = 0, kErrorsUncorrected = 1 };
enum EccCounterType : u32 { kEccVolatile = 0, kEccAggregate = 1 };
enum NvLinkDeviceType : u32 {
  kNvLinkToGpu = 0,
  kNvLinkToIbmNpu = 1,
  kNvLinkToSwitch = 2,
  kNvLinkToUnknown = 0xFF,
};
enum FabricState : u8 {
  kFabricNotSupported = 0,
  kFabricNotStarted = 1,
  kFabricInProgress = 2,
  kFabricCompleted = 3,
};
enum AddressingMode : u32 { kAddressingNone = 0, kAddressingHmm = 1, kAddressingAts = 2 };
enum ValueType : u32 {
  kValueDouble = 0,
  kValueU32 = 1,
  kValueULong = 2,
  kValueU64 = 3,
  kValueI64 = 4,
  kValueI32 = 5,
  kValueU16 = 6,
};

// GPU instance profiles by NVML's enumeration (not the ids that nvidia-smi prints).
enum GpuInstanceProfile : u32 {
  kProfile1Slice = 0x0,
  kProfile2Slice = 0x1,
  kProfile3Slice = 0x2,
  kProfile4Slice = 0x3,
  kProfile7Slice = 0x4,
  kProfile8Slice = 0x5,
  kProfile6Slice = 0x6,
  kProfile1SliceMe = 0x7,
  kProfile2SliceMe = 0x8,
  kProfile1SliceDoubleMemory = 0x9,
  kProfile1SliceGfx = 0xA,
  kProfile2SliceGfx = 0xB,
  kProfile4SliceGfx = 0xC,
  kProfile1SliceNoMe = 0xD,
  kProfile2SliceNoMe = 0xE,
  kProfile1SliceAllMe = 0xF,
  kProfile2SliceAllMe = 0x10,
  kProfile3SliceGfx = 0x11,
  kGpuInstanceProfileCount = 0x12,
};

// Field ids for nvmlDeviceGetFieldValues that we ask for.
enum Field : u32 {
  kFieldMemoryTemperature = 82,
  kFieldTotalEnergy = 83,
  kFieldNvLinkCount = 91,
  kFieldPcieReplayCounter = 94,
  kFieldNvLinkThroughputDataTx = 138,
  kFieldNvLinkThroughputDataRx = 139,
  kFieldRemappedCorrectable = 142,
  kFieldRemappedUncorrectable = 143,
  kFieldRemappedPending = 144,
  kFieldRemappedFailure = 145,
  kFieldResetlessMigSupported = 184,
  kFieldPowerAverage = 185,
  kFieldPowerInstant = 186,
  kFieldRecoveryAction = 230,
};

struct PciInfo {           // nvmlPciInfo_t, _v3 calls
  char bus_id_legacy[16];  // 0000:3B:00.0
  u32 domain;
  u32 bus;
  u32 device;
  u32 pci_device_id;  // device << 16 | vendor
  u32 pci_subsystem_id;
  char bus_id[32];  // 00000000:3B:00.0
};

struct Memory {  // used includes what the driver reserves
  u64 total;
  u64 free;
  u64 used;
};

struct MemoryV2 {
  u32 version;
  u64 total;
  u64 reserved;
  u64 free;
  u64 used;
};

struct Utilization {
  u32 gpu;
  u32 memory;
};

struct EventData {
  Device device;
  u64 event_type;
  u64 event_data;  // the XID of an XID event
  u32 gpu_instance_id;
  u32 compute_instance_id;
};

struct ProcessInfo {  // _v2 and _v3 calls
  u32 pid;
  u64 used_gpu_memory;
  u32 gpu_instance_id;
  u32 compute_instance_id;
};

// One process in one of the driver's sampling periods; percentages.
struct ProcessUtilizationSample {
  u32 pid;
  u64 timestamp;  // microseconds since the epoch
  u32 sm;
  u32 memory;
  u32 encoder;
  u32 decoder;
};

struct DeviceAttributes {
  u32 multiprocessor_count;
  u32 shared_copy_engine_count;
  u32 shared_decoder_count;
  u32 shared_encoder_count;
  u32 shared_jpeg_count;
  u32 shared_ofa_count;
  u32 gpu_instance_slice_count;
  u32 compute_instance_slice_count;
  u64 memory_size_mb;
};

struct GpuInstanceProfileInfo {
  u32 id;
  u32 is_p2p_supported;
  u32 slice_count;
  u32 instance_count;
  u32 multiprocessor_count;
  u32 copy_engine_count;
  u32 decoder_count;
  u32 encoder_count;
  u32 jpeg_count;
  u32 ofa_count;
  u64 memory_size_mb;
};

struct GpuInstanceProfileInfoV2 {
  u32 version;
  u32 id;
  u32 is_p2p_supported;
  u32 slice_count;
  u32 instance_count;
  u32 multiprocessor_count;
  u32 copy_engine_count;
  u32 decoder_count;
  u32 encoder_count;
  u32 jpeg_count;
  u32 ofa_count;
  u64 memory_size_mb;
  char name[96];
};

struct GpuInstancePlacement {
  u32 start;
  u32 size;
};

struct GpuInstanceInfo {
  Device device;
  u32 id;
  u32 profile_id;
  GpuInstancePlacement placement;
};

struct ComputeInstanceProfileInfo {
  u32 id;
  u32 slice_count;
  u32 instance_count;
  u32 multiprocessor_count;
  u32 shared_copy_engine_count;
  u32 shared_decoder_count;
  u32 shared_encoder_count;
  u32 shared_jpeg_count;
  u32 shared_ofa_count;
};

struct ComputeInstanceInfo {  // _v2 calls
  Device device;
  GpuInstance gpu_instance;
  u32 id;
  u32 profile_id;
  GpuInstancePlacement placement;
};

union Value {
  double dbl;
  std::int32_t i32;
  u32 uint32;
  unsigned long ulong_;
  u64 uint64;
  std::int64_t i64;
  std::uint16_t uint16;
};

struct FieldValue {
  u32 field_id;
  u32 scope_id;
  std::int64_t timestamp;     // us since the epoch
  std::int64_t latency_usec;  // us
  u32 value_type;             // ValueType
  u32 nvml_return;            // Return of this field alone
  Value value;
};

struct GpuFabricInfo {
  u8 cluster_uuid[16];
  u32 status;
  u32 clique_id;
  u8 state;  // FabricState
};

struct GpuFabricInfoV2 {
  u32 version;
  u8 cluster_uuid[16];
  u32 status;
  u32 clique_id;
  u8 state;
  u32 health_mask;
};

struct GpuFabricInfoV3 {
  u32 version;
  u8 cluster_uuid[16];
  u32 status;
  u32 clique_id;
  u8 state;
  u32 health_mask;
  u8 health_summary;
};

struct DeviceAddressingMode {
  u32 version;
  u32 value;  // AddressingMode
};

struct Bar1Memory {
  u64 total;
  u64 free;
  u64 used;
};

struct ViolationTime {  // both ns
  u64 reference_time;
  u64 violation_time;
};

// Licences of virtual GPUs. Only what is read of a feature has a name.
struct GridLicensableFeature {
  u32 code;
  u32 licensed;
  char rest[276];
};

struct GridLicensableFeatures {
  int supported;
  u32 count;
  GridLicensableFeature features[3];
};

struct GpmMetric {
  u32 metric_id;
  u32 nvml_return;  // Return of this metric alone
  double value;     // NaN: none
  const char* short_name;
  const char* long_name;
  const char* unit;
};

// As many metrics follow as the caller says; drivers differ in how many the structure holds. Unlike
// other structures its version is a plain 1.
struct GpmMetricsGet {
  u32 version;
  u32 count;
  GpmSample sample1;
  GpmSample sample2;
  GpmMetric metrics[1];
};

struct GpmSupport {  // version 1
  u32 version;
  u32 is_supported;
};

// The leading `version` word of a versioned structure: its size with the version in the top byte.
template <typename T>
constexpr u32 version_word(u32 version) {
  return static_cast<u32>(sizeof(T)) | (version << 24);
}

static_assert(sizeof(Return) == 4 && sizeof(EventType) == 8 && sizeof(void*) == 8);
static_assert(sizeof(PciInfo) == 68 && offsetof(PciInfo, domain) == 16 &&
              offsetof(PciInfo, pci_device_id) == 28 && offsetof(PciInfo, pci_subsystem_id) == 32 &&
              offsetof(PciInfo, bus_id) == 36);
static_assert(sizeof(Memory) == 24 && offsetof(Memory, used) == 16);
static_assert(sizeof(MemoryV2) == 40 && offsetof(MemoryV2, total) == 8 &&
              offsetof(MemoryV2, reserved) == 16 && offsetof(MemoryV2, used) == 32 &&
              version_word<MemoryV2>(2) == 0x02000028);
static_assert(sizeof(Utilization) == 8);
static_assert(sizeof(EventData) == 32 && offsetof(EventData, event_type) == 8 &&
              offsetof(EventData, event_data) == 16 && offsetof(EventData, gpu_instance_id) == 24 &&
              offsetof(EventData, compute_instance_id) == 28);
static_assert(sizeof(ProcessInfo) == 24 && offsetof(ProcessInfo, used_gpu_memory) == 8 &&
              offsetof(ProcessInfo, gpu_instance_id) == 16);
static_assert(sizeof(ProcessUtilizationSample) == 32 &&
              offsetof(ProcessUtilizationSample, timestamp) == 8 &&
              offsetof(ProcessUtilizationSample, sm) == 16);
static_assert(sizeof(DeviceAttributes) == 40 && offsetof(DeviceAttributes, memory_size_mb) == 32);
static_assert(sizeof(GpuInstanceProfileInfo) == 48 &&
              offsetof(GpuInstanceProfileInfo, memory_size_mb) == 40);
static_assert(sizeof(GpuInstanceProfileInfoV2) == 152 &&
              offsetof(GpuInstanceProfileInfoV2, memory_size_mb) == 48 &&
              offsetof(GpuInstanceProfileInfoV2, name) == 56);
static_assert(sizeof(GpuInstancePlacement) == 8);
static_assert(sizeof(GpuInstanceInfo) == 24 && offsetof(GpuInstanceInfo, placement) == 16);
static_assert(sizeof(ComputeInstanceProfileInfo) == 36);
static_assert(sizeof(ComputeInstanceInfo) == 32 && offsetof(ComputeInstanceInfo, id) == 16 &&
              offsetof(ComputeInstanceInfo, placement) == 24);
static_assert(sizeof(Value) == 8);
static_assert(sizeof(FieldValue) == 40 && offsetof(FieldValue, timestamp) == 8 &&
              offsetof(FieldValue, value_type) == 24 && offsetof(FieldValue, nvml_return) == 28 &&
              offsetof(FieldValue, value) == 32);
static_assert(sizeof(GpuFabricInfo) == 28 && offsetof(GpuFabricInfo, state) == 24);
static_assert(sizeof(GpuFabricInfoV2) == 36 && offsetof(GpuFabricInfoV2, state) == 28 &&
              offsetof(GpuFabricInfoV2, health_mask) == 32);
static_assert(sizeof(GpuFabricInfoV3) == 40 && offsetof(GpuFabricInfoV3, health_summary) == 36);
static_assert(sizeof(DeviceAddressingMode) == 8);
static_assert(sizeof(GridLicensableFeatures) == 860);
static_assert(sizeof(Bar1Memory) == 24 && sizeof(ViolationTime) == 16);
static_assert(sizeof(GpmMetric) == 40 && offsetof(GpmMetric, value) == 8 &&
              offsetof(GpmMetricsGet, metrics) == 24 && sizeof(GpmSupport) == 8);

}  // namespace kerf::nvml::abi

#include "abi_symbols.inc"
