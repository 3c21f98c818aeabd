// What the room speaks of: GPUs as they were read, what each is to be held at, what was found.
// Plain values; knows neither driver nor clock. Watts are milliwatts everywhere, as in NVML.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/power.h"

namespace kerf::power {

// A GPU by its names.
struct Gpu {
  unsigned index = 0;      // NVML index
  std::string uuid;        // "GPU-…"
  std::string name;        // "NVIDIA GeForce RTX 3090"
  std::string pci_bus_id;  // "0000:3b:00.0", lower case
  bool lost = false;       // off the bus: not to be asked
  bool operator==(const Gpu&) const = default;
};

// What a GPU answered. Whatever it cannot tell, or told absurdly, is absent.
struct Reading {
  Gpu gpu;
  std::string serial;                     // "" on boards without
  std::optional<std::uint32_t> limit_mw;  // as was asked for last
  std::optional<std::uint32_t>
      enforced_mw;                          // the least of all limiters, the board's BMC among them
  std::optional<std::uint32_t> default_mw;  // as the board boots
  std::optional<std::uint32_t> min_mw;      // what may be asked for
  std::optional<std::uint32_t> max_mw;
  std::optional<std::uint32_t> draw_mw;
  std::optional<bool> persistence;
  std::optional<std::uint32_t> graphics_mhz;  // now
  std::optional<std::uint32_t> memory_mhz;
  std::optional<std::uint32_t> utilization;         // percent
  std::optional<std::uint32_t> memory_utilization;  // percent
  std::optional<std::uint32_t> temperature;         // degrees Celsius
  // Why limits cannot be read: kUnsupported for boards that have none. Absent when they can.
  std::optional<Error> no_limits;
  // Why the GPU cannot be read at all: lost, hanging. Absent when it can.
  std::optional<Error> error;
  // What it said that cannot be: "power draw of 4294967 W".
  std::vector<std::string> oddities;
};

// Takes out of a reading what cannot be true, and notes it as an oddity.
void drop_absurd(Reading& reading);

// What a GPU is to be held at.
struct Target {
  config::PowerTarget wanted;
  unsigned weight = 1;  // of its share of a budget
  std::string rule;     // where it is said: "power.gpus[1]: model *RTX 3090*", "power.limit"
};

// What we have done to a GPU since it appeared and the driver was loaded; it can not be read back.
struct Applied {
  std::optional<config::ClockRange> graphics_clock;
  std::optional<config::ClockRange> memory_clock;
  std::optional<config::TimeSlice> time_slice;
};

// One change of one GPU.
struct Command {
  enum class What { kPersistence, kLimit, kGraphicsClock, kMemoryClock, kTimeSlice };
  What what = What::kLimit;
  std::string uuid;
  std::uint32_t limit_mw = 0;                // kLimit
  std::optional<config::ClockRange> clocks;  // kGraphicsClock, kMemoryClock; absent: unlock
  config::TimeSlice time_slice = config::TimeSlice::kDefault;  // kTimeSlice
  bool operator==(const Command&) const = default;
};

// "power limit", "persistence mode": what a command changes.
std::string_view subject_of(Command::What what);
// "280 W", "on", "210-1800 MHz", "unlocked", "long": what it changes it to.
std::string value_of(const Command& command);

// How a GPU stands to its target.
enum class Standing {
  kUnmanaged,    // nothing is asked for
  kHeld,         // as asked for
  kDrifted,      // another limit than asked for: it is to be set
  kRefused,      // asked for what the board does not take
  kUnsupported,  // the board has no limit to set
  kUnreadable,   // lost, hanging, or its answers make no sense
};

// "unmanaged", "held", …: a word for logs and metrics.
std::string_view to_string(Standing standing);

struct Verdict {
  Standing standing = Standing::kUnmanaged;
  std::optional<std::uint32_t> wanted_mw;  // after percent, clamping and budget
  bool clamped = false;
  std::string why;  // of clamped, refused, unsupported and unreadable, for people
  std::vector<Command> commands;
};

// 300000 -> "300 W", 297500 -> "297.5 W".
std::string watts(std::uint32_t milliwatts);
// What is drawn, of which nobody wants more than a tenth: 22345 -> "22.3 W".
std::string drawn(std::uint32_t milliwatts);

}  // namespace kerf::power
