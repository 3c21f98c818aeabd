// `kerf dcgm-exporter`: the agent as a metrics exporter alone, with the flags and variables of
// NVIDIA's dcgm-exporter.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace kerf::cli {

// Runs until it is told to stop; the exit status.
int run_exporter(std::span<const std::string> args, const char* const* environment);

// The arguments of `kerf agent` that mean the same. `notes` gets a line for each flag that is
// accepted and cannot mean anything here.
Result<std::vector<std::string>> exporter_arguments(std::span<const std::string> args,
                                                    std::vector<std::string>& notes);

}  // namespace kerf::cli
