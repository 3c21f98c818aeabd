// Durations as Go writes them: "60s", "1m30s", "1.5h", and "infinite". Pure. Source: device-plugin
// contract §1.3 (flags.gfd.sleepInterval).
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kerf::config {

// What "infinite" stands for.
inline constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

// Nanoseconds. Needs a unit, except for "0". The error (kInvalid) is the sentence that Go has for
// it.
Result<std::int64_t> parse_duration(std::string_view text);

// The shortest of "infinite", "90s", "5ms", "7ns" that reads back as the same.
std::string duration_text(std::int64_t nanoseconds);

}  // namespace kerf::config
