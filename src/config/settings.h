// What each flag's value must be and which field of the configuration it fills. Internal to the
// room. Source: device-plugin contract §1.6.
#pragma once

#include <optional>
#include <string>

#include "config/flags.h"
#include "config/load.h"

namespace kerf::config {

struct Problem {
  std::string message;
  std::string hint;
};

// Checks `value` and stores it in `effective`; on a problem the field keeps its default.
std::optional<Problem> apply(const FlagSpec& spec, const Value& value, Effective& effective);

// Whether "" is a meaningful value of this string flag.
bool allows_empty(const FlagSpec& spec);

}  // namespace kerf::config
