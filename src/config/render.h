// Writes a configuration back as a `version: v1` file: what `kerf config explain` and the status
// page show. Parsing the result gives the same configuration again.
#pragma once

#include <string>

#include "config/load.h"
#include "config/types.h"

namespace kerf::config {

// YAML, two spaces a level, every field written out. Settings that a file cannot hold are left out.
std::string to_yaml(const Config& config);

// The same with "# from …" behind every value, and the settings of the process as comments below.
std::string to_yaml(const Effective& effective);

// The words of the file and the flags.
std::string_view to_string(MigStrategy value);
std::string_view to_string(DeviceListStrategy value);
std::string_view to_string(DeviceIdStrategy value);
std::string_view to_string(AllocationPolicy value);
std::string_view to_string(DiscoveryStrategy value);
std::string_view to_string(SharingStrategy value);  // "none", "time-slicing", "mps"
std::string to_string(const DeviceRef& device);     // "0", "0:1", "GPU-…", "0000:3b:00.0"

}  // namespace kerf::config
