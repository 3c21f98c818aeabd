#include "nvml/telemetry.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <limits>

namespace kerf::nvml {

namespace {

// More room than is announced, for a driver that writes past the end of what it was given.
constexpr std::size_t kSlack = 256;
// The most metrics that any driver's structure has; one that clears all of it must find them all.
constexpr std::size_t kMaxGpmMetrics = 333;
constexpr std::uint32_t kP2pCapsNvlink = 2;

}  // namespace

bool is_lasting(std::uint32_t code) {
  return code == abi::kErrorNotSupported || code == abi::kErrorFunctionNotFound ||
         code == abi::kErrorNoPermission || code == abi::kErrorArgumentVersionMismatch ||
         code == abi::kErrorDeprecated;
}

template <typename Function, typename... Arguments>
std::uint32_t Telemetry::call(Function function, Arguments... arguments) const {
  const std::uint32_t code =
      function == nullptr ? std::uint32_t{abi::kErrorFunctionNotFound} : function(arguments...);
  session_->count(code);
  return code;
}

template <typename Function, typename... Before>
Telemetry::Number Telemetry::number(Function function, Before... before) const {
  Number out;
  out.code = call(function, before..., &out.value);
  return out;
}

template <typename Function, typename... Before>
Telemetry::Text Telemetry::text(Function function, std::uint32_t size, Before... before) const {
  Text out;
  std::string buffer(size + kSlack, '\0');
  out.code = call(function, before..., buffer.data(), size);
  if (!out) return out;
  const std::size_t length = strnlen(buffer.data(), size);
  buffer.resize(length);
  const bool printable =
      std::all_of(buffer.begin(), buffer.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (length == size || length == 0 || !printable) {
    out.code = abi::kErrorNoData;
    return out;
  }
  out.value = std::move(buffer);
  return out;
}

Telemetry::Number Telemetry::clock(abi::Device gpu, abi::ClockType type) const {
  return number(functions().nvmlDeviceGetClockInfo, gpu, type);
}

Telemetry::Number Telemetry::max_clock(abi::Device gpu, abi::ClockType type) const {
  return number(functions().nvmlDeviceGetMaxClockInfo, gpu, type);
}

Telemetry::Number Telemetry::application_clock(abi::Device gpu, abi::ClockType type) const {
  return number(functions().nvmlDeviceGetApplicationsClock, gpu, type);
}

Telemetry::Big Telemetry::clock_reasons(abi::Device gpu) const {
  Big out;
  out.code = call(functions().nvmlDeviceGetCurrentClocksThrottleReasons, gpu, &out.value);
  return out;
}

Telemetry::Number Telemetry::temperature(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetTemperature, gpu, abi::kTemperatureGpu);
}

Telemetry::Number Telemetry::threshold(abi::Device gpu, abi::TemperatureThreshold which) const {
  return number(functions().nvmlDeviceGetTemperatureThreshold, gpu, which);
}

Telemetry::Number Telemetry::power(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetPowerUsage, gpu);
}

Telemetry::Number Telemetry::power_limit(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetPowerManagementLimit, gpu);
}

Telemetry::Number Telemetry::enforced_power_limit(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetEnforcedPowerLimit, gpu);
}

Telemetry::Number Telemetry::default_power_limit(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetPowerManagementDefaultLimit, gpu);
}

Figure<Telemetry::Range> Telemetry::power_limits(abi::Device gpu) const {
  Figure<Range> out;
  out.code = call(functions().nvmlDeviceGetPowerManagementLimitConstraints, gpu, &out.value.low,
                  &out.value.high);
  return out;
}

Telemetry::Big Telemetry::energy(abi::Device gpu) const {
  Big out;
  out.code = call(functions().nvmlDeviceGetTotalEnergyConsumption, gpu, &out.value);
  return out;
}

Telemetry::Number Telemetry::fan(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetFanSpeed, gpu);
}

Telemetry::Number Telemetry::performance_state(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetPerformanceState, gpu);
}

Telemetry::Number Telemetry::compute_mode(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetComputeMode, gpu);
}

Telemetry::Number Telemetry::persistence_mode(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetPersistenceMode, gpu);
}

Figure<abi::Utilization> Telemetry::utilization(abi::Device gpu) const {
  Figure<abi::Utilization> out;
  out.code = call(functions().nvmlDeviceGetUtilizationRates, gpu, &out.value);
  return out;
}

Telemetry::Number Telemetry::encoder(abi::Device gpu) const {
  Number out;
  std::uint32_t period = 0;
  out.code = call(functions().nvmlDeviceGetEncoderUtilization, gpu, &out.value, &period);
  return out;
}

Telemetry::Number Telemetry::decoder(abi::Device gpu) const {
  Number out;
  std::uint32_t period = 0;
  out.code = call(functions().nvmlDeviceGetDecoderUtilization, gpu, &out.value, &period);
  return out;
}

Figure<Telemetry::Memory> Telemetry::memory(abi::Device device) const {
  Figure<Memory> out;
  abi::MemoryV2 info{};
  info.version = abi::version_word<abi::MemoryV2>(2);
  out.code = call(functions().nvmlDeviceGetMemoryInfo_v2, device, &info);
  if (out) {
    out.value = {info.total, info.reserved, info.free, info.used, true};
    return out;
  }
  if (out.code != abi::kErrorFunctionNotFound && out.code != abi::kErrorArgumentVersionMismatch) {
    return out;
  }
  abi::Memory old{};
  out.code = call(functions().nvmlDeviceGetMemoryInfo, device, &old);
  if (out) out.value = {old.total, 0, old.free, old.used, false};
  return out;
}

Figure<abi::Bar1Memory> Telemetry::bar1(abi::Device device) const {
  Figure<abi::Bar1Memory> out;
  out.code = call(functions().nvmlDeviceGetBAR1MemoryInfo, device, &out.value);
  return out;
}

Telemetry::Number Telemetry::pcie_replays(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetPcieReplayCounter, gpu);
}

Telemetry::Number Telemetry::pcie_generation(abi::Device gpu, bool greatest) const {
  return number(greatest ? functions().nvmlDeviceGetMaxPcieLinkGeneration
                         : functions().nvmlDeviceGetCurrPcieLinkGeneration,
                gpu);
}

Telemetry::Number Telemetry::pcie_width(abi::Device gpu, bool greatest) const {
  return number(greatest ? functions().nvmlDeviceGetMaxPcieLinkWidth
                         : functions().nvmlDeviceGetCurrPcieLinkWidth,
                gpu);
}

Telemetry::Big Telemetry::violation(abi::Device gpu, std::uint32_t policy) const {
  Big out;
  abi::ViolationTime time{};
  out.code = call(functions().nvmlDeviceGetViolationStatus, gpu, policy, &time);
  out.value = time.violation_time;
  return out;
}

Telemetry::Big Telemetry::ecc_errors(abi::Device gpu, abi::MemoryErrorType type,
                                     abi::EccCounterType counter) const {
  Big out;
  out.code = call(functions().nvmlDeviceGetTotalEccErrors, gpu, type, counter, &out.value);
  return out;
}

Figure<Telemetry::EccMode> Telemetry::ecc_mode(abi::Device gpu) const {
  Figure<EccMode> out;
  out.code = call(functions().nvmlDeviceGetEccMode, gpu, &out.value.current, &out.value.pending);
  return out;
}

Figure<Telemetry::RemappedRows> Telemetry::remapped_rows(abi::Device gpu) const {
  Figure<RemappedRows> out;
  RemappedRows& rows = out.value;
  out.code = call(functions().nvmlDeviceGetRemappedRows, gpu, &rows.corrected, &rows.uncorrected,
                  &rows.pending, &rows.failed);
  return out;
}

Telemetry::Number Telemetry::mig_mode(abi::Device gpu) const {
  Number out;
  std::uint32_t pending = 0;
  out.code = call(functions().nvmlDeviceGetMigMode, gpu, &out.value, &pending);
  return out;
}

Figure<bool> Telemetry::licensed(abi::Device gpu) const {
  Figure<bool> out;
  abi::GridLicensableFeatures features{};
  out.code = call(functions().nvmlDeviceGetGridLicensableFeatures_v4, gpu, &features);
  if (out.code == abi::kErrorNotSupported || out.code == abi::kErrorFunctionNotFound) {
    out.code = abi::kSuccess;
    return out;
  }
  const std::size_t count = std::min<std::size_t>(features.count, std::size(features.features));
  for (std::size_t i = 0; i < count; ++i) {
    out.value = out.value || (features.supported != 0 && features.features[i].licensed != 0);
  }
  return out;
}

Telemetry::Number Telemetry::p2p_nvlink(abi::Device one, abi::Device two) const {
  return number(functions().nvmlDeviceGetP2PStatus, one, two, kP2pCapsNvlink);
}

Telemetry::Text Telemetry::driver_version() const {
  return text(functions().nvmlSystemGetDriverVersion, abi::kVersionSize);
}

Telemetry::Text Telemetry::nvml_version() const {
  return text(functions().nvmlSystemGetNVMLVersion, abi::kVersionSize);
}

Telemetry::Text Telemetry::name(abi::Device gpu) const {
  return text(functions().nvmlDeviceGetName, abi::kNameSize, gpu);
}

Telemetry::Text Telemetry::serial(abi::Device gpu) const {
  return text(functions().nvmlDeviceGetSerial, abi::kSerialSize, gpu);
}

Telemetry::Text Telemetry::vbios(abi::Device gpu) const {
  return text(functions().nvmlDeviceGetVbiosVersion, abi::kVbiosSize, gpu);
}

Telemetry::Text Telemetry::inforom_image(abi::Device gpu) const {
  return text(functions().nvmlDeviceGetInforomImageVersion, abi::kInforomSize, gpu);
}

Telemetry::Text Telemetry::inforom(abi::Device gpu, std::uint32_t object) const {
  return text(functions().nvmlDeviceGetInforomVersion, abi::kInforomSize, gpu, object);
}

Telemetry::Number Telemetry::brand(abi::Device gpu) const {
  return number(functions().nvmlDeviceGetBrand, gpu);
}

std::uint32_t Telemetry::fields(abi::Device gpu, std::span<abi::FieldValue> values) const {
  // What a driver does not touch is no answer.
  for (abi::FieldValue& value : values) value.nvml_return = abi::kErrorNoData;
  return call(functions().nvmlDeviceGetFieldValues, gpu, static_cast<int>(values.size()),
              values.data());
}

Figure<bool> Telemetry::gpm_supported(abi::Device gpu) const {
  Figure<bool> out;
  abi::GpmSupport support{1, 0};
  out.code = call(functions().nvmlGpmQueryDeviceSupport, gpu, &support);
  out.value = support.is_supported != 0;
  return out;
}

Figure<abi::GpmSample> Telemetry::gpm_allocate() const {
  Figure<abi::GpmSample> out;
  out.code = call(functions().nvmlGpmSampleAlloc, &out.value);
  return out;
}

void Telemetry::gpm_free(abi::GpmSample sample) const {
  static_cast<void>(call(functions().nvmlGpmSampleFree, sample));
}

std::uint32_t Telemetry::gpm_take(abi::Device gpu, const std::uint32_t* gpu_instance,
                                  abi::GpmSample sample) const {
  if (gpu_instance == nullptr) return call(functions().nvmlGpmSampleGet, gpu, sample);
  return call(functions().nvmlGpmMigSampleGet, gpu, *gpu_instance, sample);
}

Figure<std::vector<double>> Telemetry::gpm_metrics(abi::GpmSample earlier, abi::GpmSample later,
                                                   std::span<const std::uint32_t> ids) const {
  Figure<std::vector<double>> out;
  const std::size_t wanted = std::min(ids.size(), kMaxGpmMetrics);
  constexpr std::size_t kSize =
      offsetof(abi::GpmMetricsGet, metrics) + kMaxGpmMetrics * sizeof(abi::GpmMetric);
  std::vector<std::uint64_t> room(kSize / sizeof(std::uint64_t) + 1);
  auto* get = reinterpret_cast<abi::GpmMetricsGet*>(room.data());
  auto* metrics = reinterpret_cast<abi::GpmMetric*>(reinterpret_cast<char*>(room.data()) +
                                                    offsetof(abi::GpmMetricsGet, metrics));
  *get = {1, static_cast<std::uint32_t>(wanted), earlier, later, {}};
  for (std::size_t i = 0; i < wanted; ++i) metrics[i].metric_id = ids[i];
  out.code = call(functions().nvmlGpmMetricsGet, get);
  if (!out) return out;
  out.value.assign(ids.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < wanted; ++i) {
    if (metrics[i].nvml_return == abi::kSuccess) out.value[i] = metrics[i].value;
  }
  return out;
}

Figure<double> field_number(const abi::FieldValue& value) {
  Figure<double> out;
  out.code = value.nvml_return;
  if (!out) return out;
  switch (value.value_type) {
    case abi::kValueDouble:
      out.value = value.value.dbl;
      break;
    case abi::kValueU32:
      out.value = value.value.uint32;
      break;
    case abi::kValueULong:
      out.value = static_cast<double>(value.value.ulong_);
      break;
    case abi::kValueU64:
      out.value = static_cast<double>(value.value.uint64);
      break;
    case abi::kValueI64:
      out.value = static_cast<double>(value.value.i64);
      break;
    case abi::kValueI32:
      out.value = value.value.i32;
      break;
    case abi::kValueU16:
      out.value = value.value.uint16;
      break;
    default:
      out.code = abi::kErrorNoData;
  }
  if (!std::isfinite(out.value)) out.code = abi::kErrorNoData;
  return out;
}

}  // namespace kerf::nvml
