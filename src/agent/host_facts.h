// What Allocate must know about this machine's device nodes, looked up when a plan is made.
#pragma once

#include "allocate/allocate.h"
#include "base/result.h"
#include "base/roots.h"
#include "config/types.h"

namespace kerf::agent {

// Control nodes and IMEX channels that exist. An IMEX channel that is configured but missing is
// left out with a log line, or is an error (kNotFound) when imex.required is set.
Result<allocate::HostFacts> host_facts(const Roots& roots, const config::Config& config);

}  // namespace kerf::agent
