// Starting a named thread that nobody joins: for threads that call into the driver and may
// therefore never come back. All signals are blocked on it.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace kerf::nvml {

// `name` is cut to the kernel's 15 characters. `body` must own all it uses and must not throw.
Status start_detached(const std::string& name, std::function<void()> body);

}  // namespace kerf::nvml
