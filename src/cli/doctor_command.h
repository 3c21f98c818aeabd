// `kerf doctor`: why this node, or the cluster, gives pods no GPUs, and what to do about it.
#pragma once

#include <span>
#include <string>

namespace kerf::cli {

// Exit status: 0 nothing is wrong but for warnings, 1 there is an error, 2 wrong arguments.
int run_doctor(std::span<const std::string> args, const char* const* environment);

}  // namespace kerf::cli
