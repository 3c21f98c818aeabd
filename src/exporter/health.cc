#include "exporter/health.h"

#include <array>
#include <utility>

namespace kerf::exporter {
namespace {

constexpr std::int64_t kWarn = 10;
constexpr std::int64_t kFail = 20;
// DCGM warns above this many PCIe replays a minute.
constexpr double kReplaysPerMinute = 8;

constexpr std::uint64_t kThermal = 0x20 | 0x40;
constexpr std::uint64_t kPowerBrake = 0x80;

struct Verdict {
  std::int64_t value = 0;
  const char* code = "DCGM_FR_OK";
};

Verdict memory(const HealthFacts& now) {
  if (now.remap_failed.value_or(false)) return {kFail, "DCGM_FR_ROW_REMAP_FAILURE"};
  if (now.double_bit_errors.value_or(0) > 0) return {kFail, "DCGM_FR_VOLATILE_DBE_DETECTED"};
  if (now.remap_pending.value_or(false)) return {kWarn, "DCGM_FR_PENDING_ROW_REMAP"};
  if (now.retirement_pending.value_or(false)) return {kWarn, "DCGM_FR_PENDING_PAGE_RETIREMENTS"};
  return {};
}

std::uint64_t risen(const std::optional<std::uint64_t>& now,
                    const std::optional<std::uint64_t>& before) {
  const std::uint64_t later = now.value_or(0);
  const std::uint64_t earlier = before.value_or(later);
  return later > earlier ? later - earlier : 0;
}

Verdict pcie(const HealthFacts& now, const HealthFacts* before, double minutes) {
  if (before == nullptr || minutes <= 0) return {};
  const auto replays = static_cast<double>(risen(now.pcie_replays, before->pcie_replays));
  if (replays / minutes > kReplaysPerMinute) return {kWarn, "DCGM_FR_PCI_REPLAY_RATE"};
  return {};
}

Verdict nvlink(const HealthFacts& now, const HealthFacts* before) {
  if (before == nullptr || risen(now.nvlink_errors, before->nvlink_errors) == 0) return {};
  return {kWarn, "DCGM_FR_NVLINK_ERROR_THRESHOLD"};
}

Verdict thermal(const HealthFacts& now) {
  if ((now.clock_reasons.value_or(0) & kThermal) == 0) return {};
  return {kWarn, "DCGM_FR_CLOCK_THROTTLE_THERMAL"};
}

Verdict power(const HealthFacts& now) {
  if (now.power_unreadable) return {kWarn, "DCGM_FR_POWER_UNREADABLE"};
  if ((now.clock_reasons.value_or(0) & kPowerBrake) == 0) return {};
  return {kWarn, "DCGM_FR_CLOCK_THROTTLE_POWER"};
}

}  // namespace

std::vector<Reading::Extra> health_samples(std::size_t counter, const HealthFacts& now,
                                           const HealthFacts* before, double minutes) {
  const Verdict inforom =
      now.inforom_corrupt ? Verdict{kWarn, "DCGM_FR_CORRUPT_INFOROM"} : Verdict{};
  const std::pair<const char*, Verdict> watches[] = {
      {"PCIE", pcie(now, before, minutes)},
      {"NVLINK", nvlink(now, before)},
      {"PMU", {}},
      {"MCU", {}},
      {"MEM", memory(now)},
      {"SM", {}},
      {"INFOROM", inforom},
      {"THERMAL", thermal(now)},
      {"POWER", power(now)},
      {"DRIVER", {}},
  };
  std::vector<Reading::Extra> out;
  for (const auto& [watch, verdict] : watches) {
    Reading::Extra extra;
    extra.counter = counter;
    extra.labels = {{"health_error_code", verdict.code}, {"health_watch", watch}};
    extra.value = verdict.value;
    out.push_back(std::move(extra));
  }
  return out;
}

}  // namespace kerf::exporter
