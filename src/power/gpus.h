// Reads GPUs and carries out commands: the room's way to the driver. Each GPU is a call of its own
// on the lane, so that one that fails or hangs costs itself alone. Decides nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "inventory/builder.h"
#include "power/types.h"

namespace kerf::power {

// What the GPU answers now, with what cannot be true left out. Why it does not answer is part of
// the value.
Reading read_gpu(const inventory::DriverAccess& access, const Gpu& gpu);

// Carries out a command other than a time slice. The error's hint says what rights are missing.
Status apply(const inventory::DriverAccess& access, const Command& command);

// The limit that is in force by request.
Result<std::uint32_t> read_limit(const inventory::DriverAccess& access, const std::string& uuid);

// How time slices are set: NVML has no call for it, but nvidia-smi has.
struct Smi {
  std::string driver_root;               // where the driver's programs are looked for first
  std::string path;                      // then here, as in PATH
  std::vector<std::string> environment;  // NAME=value, all there is
  std::string self;                      // a program that is not taken for nvidia-smi: our own
};

// Runs nvidia-smi to set the time slice of a command; waits at most ten seconds, or until
// `stop_fd` is readable. kNotFound, with where was looked, when there is none.
Status set_time_slice(const Smi& smi, const Command& command, int stop_fd);

}  // namespace kerf::power
