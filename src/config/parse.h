// Reads a `version: v1` configuration file (YAML or JSON) into values and findings. Pure: the text
// comes in, nothing is opened. It judges only the file; what flags and environment make of it is
// config/load.h. Source: device-plugin contract §1.2–§1.4.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/flags.h"
#include "config/types.h"

namespace kerf::config {

// Files beyond these are refused: a ConfigMap cannot be larger, and aliases must not multiply.
inline constexpr std::size_t kMaxFileBytes = 1 << 20;
inline constexpr std::size_t kMaxNodes = 50'000;  // values after aliases are followed
inline constexpr unsigned kMaxNesting = 32;

// What a file says. Absent and null are the same: not said.
struct FileValues {
  std::map<std::string, Value, std::less<>> settings;  // by FlagSpec::name
  std::vector<ResourceRule> gpu_rules;
  std::vector<ResourceRule> mig_rules;
  std::optional<Sharing> time_slicing;
  std::optional<Sharing> mps;
  HealthOptions health;
  UsageOptions usage;
  PowerOptions power;  // but for limit and reapply, which are settings
  // Where each known thing of the file stands, by path
  // ("sharing.timeSlicing.resources[0].replicas"): its value, or its key if the value is a mapping,
  // a list or null.
  std::map<std::string, Position, std::less<>> positions;
};

struct Parsed {
  FileValues values;                 // what could be understood, even when there are errors
  std::vector<Diagnostic> findings;  // in the order of the file
};

// Never throws, whatever the bytes. `file_name` is only used in findings.
Parsed parse(std::string_view text, std::string_view file_name);

}  // namespace kerf::config
