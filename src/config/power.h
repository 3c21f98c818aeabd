// The `power` section of the file as values: how much each GPU may draw, at which clocks it runs,
// and how a node's watts are shared out. A section of kerf's own; NVIDIA's plugin does not know it
// and ignores it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kerf::config {

// A power limit as it is written: "300W", "85%", "90% of max", "default", "max", "unmanaged".
struct PowerAmount {
  enum class Unit {
    kUnmanaged,         // left as it is found
    kWatts,             // `value` is milliwatts
    kPercentOfDefault,  // of the limit that the board boots with; `value` is thousandths of a
                        // percent
    kPercentOfMax,      // of the highest limit that the board takes; the same
  };
  Unit unit = Unit::kWatts;
  std::uint32_t value = 0;
  bool operator==(const PowerAmount&) const = default;
};

// Watts without a unit are watts. Error: kInvalid, with the forms there are as its hint.
Result<PowerAmount> parse_power_amount(std::string_view text);
// The shortest text that reads back as the same: "300W", "85%", "default".
std::string to_string(const PowerAmount& amount);

// Clocks to run at, in MHz; min <= max.
struct ClockRange {
  std::uint32_t min_mhz = 0;
  std::uint32_t max_mhz = 0;
  bool operator==(const ClockRange&) const = default;
};

// "210-1800", or one number for both. Error: kInvalid.
Result<ClockRange> parse_clock_range(std::string_view text);
std::string to_string(const ClockRange& range);

// How long one process has a time-sliced GPU before it is another's turn. In the order of
// `nvidia-smi compute-policy --set-timeslice`.
enum class TimeSlice { kDefault, kShort, kMedium, kLong };
inline constexpr std::pair<std::string_view, TimeSlice> kTimeSlices[] = {
    {"default", TimeSlice::kDefault},
    {"short", TimeSlice::kShort},
    {"medium", TimeSlice::kMedium},
    {"long", TimeSlice::kLong},
};
std::string_view to_string(TimeSlice slice);

// What may be said of all GPUs, and of some in particular.
struct PowerTarget {
  std::optional<PowerAmount> limit;
  std::optional<ClockRange> graphics_clock;
  std::optional<ClockRange> memory_clock;
  std::optional<TimeSlice> time_slice;
  bool operator==(const PowerTarget&) const = default;
};

// How a rule names its GPUs, the most particular first: of several rules that fit a GPU, that with
// the first of these counts, and of equal ones the first in the file.
enum class PowerSelector { kUuid, kPci, kSerial, kModel };
inline constexpr std::pair<std::string_view, PowerSelector> kPowerSelectors[] = {
    {"uuid", PowerSelector::kUuid},
    {"pci", PowerSelector::kPci},
    {"serial", PowerSelector::kSerial},
    {"model", PowerSelector::kModel},
};

// One entry of power.gpus. What it leaves out is as for all GPUs.
struct PowerRule {
  PowerSelector by = PowerSelector::kModel;
  std::string match;  // uuid and pci in lower case but for the prefix "GPU-"; model: '*' = anything
  PowerTarget target;
  unsigned weight = 1;  // of its share of a budget, 1 to 1000
  bool operator==(const PowerRule&) const = default;
};

// What to do with a limit outside the range that the board takes.
enum class OutOfRange {
  kRefuse,  // leave the GPU as it is and say so
  kClamp,   // take the nearest that the board takes
};

// Watts for all GPUs of the node together.
struct PowerBudget {
  std::uint32_t total_mw = 0;
  std::int64_t interval_ns = 10'000'000'000;  // between looks at who needs what
  std::uint32_t hysteresis_mw = 10'000;       // shares do not move for less
  bool operator==(const PowerBudget&) const = default;
};

struct PowerOptions {
  PowerTarget all;
  std::vector<PowerRule> gpus;
  OutOfRange out_of_range = OutOfRange::kRefuse;
  bool persistence = true;                      // assert persistence mode
  bool restore_on_exit = false;                 // the defaults
  std::int64_t reapply_ns = 1'800'000'000'000;  // between checks; kForever: only on events
  std::optional<PowerBudget> budget;
  bool operator==(const PowerOptions&) const = default;

  // Whether any GPU is to be changed.
  bool changes_anything() const {
    return all != PowerTarget{} || !gpus.empty() || budget.has_value() || persistence;
  }
};

// "1800" (seconds) or "30m"; at least 1s, or "infinite". Nanoseconds. Error: kInvalid.
Result<std::int64_t> parse_reapply(std::string_view text);

}  // namespace kerf::config
