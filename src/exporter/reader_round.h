// What the two halves of the reader share. Internal to the room.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "exporter/reader.h"

namespace kerf::exporter {

// Above these a driver has answered nonsense.
inline constexpr std::uint32_t kMaxCelsius = 200;
inline constexpr std::uint32_t kMaxMilliwatts = 20'000'000;

// Fields of NVML that health looks at.
inline constexpr std::uint32_t kRetiredPending = 31;
inline constexpr std::uint32_t kNvlinkErrorTotals[] = {38, 45, 52, 59};

inline Value big(const nvml::Figure<std::uint64_t>& figure) {
  if (!figure || figure.value > static_cast<std::uint64_t>(INT64_MAX)) return {};
  return Value::integer(static_cast<std::int64_t>(figure.value));
}

struct GpuReader::Profile {
  nvml::abi::GpmSample earlier = nullptr;
  nvml::abi::GpmSample later = nullptr;
  bool has_earlier = false;
  std::vector<double> metrics;  // parallel to gpm_ids_; empty: none this time
};

struct GpuReader::Round {
  Steady::time_point now;
  std::uint32_t fatal = nvml::abi::kSuccess;
  std::uint32_t last = nvml::abi::kSuccess;  // code of the newest answer
  bool answered = false;                     // something
  bool failing = false;                      // with errors that say nothing
  std::optional<nvml::Figure<nvml::abi::Utilization>> utilization;
  std::optional<nvml::Figure<nvml::Telemetry::RemappedRows>> rows;
  std::optional<nvml::Figure<nvml::Telemetry::Range>> limits;
  std::optional<nvml::Figure<nvml::Telemetry::EccMode>> ecc;
  std::optional<nvml::Figure<std::uint64_t>> reasons;
  std::map<std::size_t, nvml::Figure<nvml::Telemetry::Memory>> memory;
  std::map<std::size_t, nvml::Figure<nvml::abi::Bar1Memory>> bar1;
  std::vector<nvml::abi::FieldValue> fields;

  // The answer of this round, asked for at the first need.
  template <typename T, typename Ask>
  const T& once(std::optional<T>& kept, Ask ask) {
    if (!kept) kept = ask();
    return *kept;
  }
  const nvml::abi::FieldValue* field(std::uint32_t id) const {
    auto found = std::ranges::find(fields, id, &nvml::abi::FieldValue::field_id);
    return found == fields.end() ? nullptr : &*found;
  }
};

}  // namespace kerf::exporter
