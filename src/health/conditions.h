// What a GPU says about itself when it is asked: memory errors, replaced memory rows, NVLinks,
// heat. Reads; what to make of it is the tracker's business. What a GPU or its driver cannot tell
// is absent and so not watched.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "health/settings.h"
#include "inventory/builder.h"
#include "inventory/types.h"

namespace kerf::health {

struct LinkCondition {
  unsigned link = 0;
  bool up = false;
  std::string remote;  // PCI address of what is at the other end, while up; empty when unknown
};

// One GPU, at one moment.
struct Conditions {
  std::string gpu;                               // uuid
  std::optional<std::uint64_t> uncorrectable;    // memory errors since the last reset or load
  std::optional<bool> remap_pending;             // a row is replaced at the next reset
  std::optional<bool> remap_failed;              // a row cannot be replaced
  std::vector<LinkCondition> links;              // empty: has none
  std::optional<bool> slowed_by_heat;            // the hardware lowers the clocks because of heat
  std::optional<unsigned> temperature;           // degrees Celsius
  std::optional<unsigned> shutdown_temperature;  // at which the hardware turns the GPU off
  std::optional<std::uint32_t> recovery_action;  // 0: none; else what the driver asks for
};

// What each GPU, by uuid, has said that it cannot tell, so that it is not asked again and again.
using Unsupported = std::map<std::string, unsigned>;

// Asks these GPUs, each in a call of its own, for what the settings watch. A GPU that fails is left
// out; what to do about it is for a full reading to find. Error: kTimeout, when a call hung.
Result<std::vector<Conditions>> read_conditions(const inventory::DriverAccess& access,
                                                const std::vector<std::string>& gpus,
                                                const Settings& settings, Unsupported& unsupported);

}  // namespace kerf::health
