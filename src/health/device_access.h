// Whether this process may still open the driver's control device. A container can lose the right
// while it runs: systemd rewrites the device cgroups of what it manages when it is reloaded, and
// forgets devices that were allowed behind its back. The driver then only says "no permission" or
// "unknown error".
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/roots.h"

namespace kerf::health {

// Opens a file for reading and writing and closes it again; 0 or the errno.
using TryOpen = std::function<int(const std::string& path)>;
int try_open(const std::string& path);

// `error` as it is; when the control device is there but a device cgroup forbids it, an error
// (kDenied, same native code) that says so and what helps.
Error explain_access(Error error, const Roots& roots, const TryOpen& open = try_open);

}  // namespace kerf::health
