// The fields of DCGM that NVML can answer: names, numbers, and where each comes from. A table and
// nothing else; exporter/reader.h asks the driver. Source: metrics contract §1.2, §1.3; DCGM's
// field numbers and types.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kerf::exporter {

// Which question to the driver answers a field. `argument` of the field says which part of the
// answer, or which of several alike.
enum class Source : std::uint8_t {
  kNone,      // DCGM knows the field, NVML does not: never a sample
  kClock,     // argument: nvml::abi::ClockType
  kMaxClock,  // the same
  kApplicationClock,
  kClockReasons,
  kTemperature,
  kThreshold,  // argument: nvml::abi::TemperatureThreshold
  kMargin,     // degrees until the GPU slows down
  kMemoryTemperature,
  kPower,
  kPowerInstant,
  kPowerLimit,  // argument: 0 asked for, 1 least, 2 most, 3 default, 4 in force
  kEnergy,
  kPerformanceState,
  kFan,
  kPcieReplays,
  kPcieLink,      // argument: 0 greatest generation, 1 width; 2 current generation, 3 width
  kUtilization,   // argument: 0 GPU, 1 memory, 2 encoder, 3 decoder
  kMemory,        // argument: 0 total, 1 free, 2 used, 3 reserved, 4 share used
  kBar1,          // argument: 0 total, 1 used, 2 free
  kXid,           // from events
  kViolation,     // argument: nvmlPerfPolicyType_t
  kEccMode,       // argument: 0 current, 1 pending
  kEccErrors,     // argument: bit 0 uncorrected, bit 1 aggregate
  kRemappedRows,  // argument: 0 uncorrected, 1 corrected, 2 failed, 3 pending
  kFieldValue,    // argument: field of NVML
  kNvlinkBandwidth,
  kLicense,
  kComputeMode,
  kPersistence,
  kMigMode,
  kGpm,       // argument: metric of NVML's performance monitoring, in percent
  kGpmBytes,  // the same, in MiB a second
  kText,      // argument: Text
  kComputed,  // the exporter's own; argument: Computed
};

// Strings that are labels more than figures.
enum class Text : std::uint8_t {
  kDriverVersion,
  kNvmlVersion,
  kName,
  kBrand,
  kSerial,
  kUuid,
  kOemInforom,
  kEccInforom,
  kPowerInforom,
  kInforomImage,
  kVbios,
};

// DCGM_EXP_…: counted by the exporter and not by DCGM.
enum class Computed : std::uint8_t { kXidErrors, kClockEvents, kHealth, kP2p };

struct Field {
  std::string_view name;
  std::uint16_t id = 0;
  Source source = Source::kNone;
  std::uint16_t argument = 0;
  bool real = false;  // printed with six decimals

  // 1000 to 1099: needs performance monitoring, which GPUs before Hopper do not have in NVML.
  bool profiling() const { return id >= 1000 && id <= 1099; }
};

// All of them, ordered by number. Older and newer names of one field are entries of their own.
std::span<const Field> all_fields();

// nullptr when DCGM has no field of that name, or it says nothing of GPUs.
const Field* find_field(std::string_view name);

// A field's name that is near, for messages; empty when none is.
std::string_view nearest_field(std::string_view name);

}  // namespace kerf::exporter
