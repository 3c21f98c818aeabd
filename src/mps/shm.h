// The tmpfs that MPS's daemons and clients share. Made once, by whoever runs before them and may
// mount. Source: device-plugin contract §10.1.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kerf::mps {

// The value of the mount option size: half the memory that /proc/meminfo's text gives, in its unit
// ("131922538k"); "65536k" when it does not.
std::string shm_size(std::string_view meminfo);

// Unmounts what is at `directory`, empties and makes it, and mounts a tmpfs of that size there.
// Errors: kDenied without the right to mount, and those of the directory.
Status mount_shm(const std::string& directory, const std::string& size);

}  // namespace kerf::mps
