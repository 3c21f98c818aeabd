// GetPreferredAllocation: which of the free devices a container should get. Pure and
// deterministic: the same arguments give the same answer, whatever the order of `available`.
// Device-plugin contract §6.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "allocate/index.h"
#include "base/result.h"

namespace kerf::allocate {

// `size` device ids: `must_include` as given, then the choice. Two algorithms, as in NVIDIA's
// plugin (§6.1):
//
// Whole GPUs, none of them shared, are chosen to lie close together (`aligned.h`); the answer is
// ordered by GPU and is empty, without an error, where no such choice exists. An available id that
// is not known is passed over, and an error only if too few GPUs remain without it.
//
// Replicas and MIG devices are spread (`distributed`) or gathered (`packed`) by how many devices
// of a physical device are already given away; see `preferred.cc` for the order among equals.
//
// The views returned point into the index or into `must_include`.
// Errors; `Error::text()` is what NVIDIA's plugin answers word for word, for gRPC code UNKNOWN:
//   kConflict  error getting list of preferred allocation devices: not enough available devices to
//              satisfy allocation
//   kInvalid   … unable to retrieve list of available devices: no device with uuid: <id>
//   kInvalid   … unable to retrieve list of required devices: no device with uuid: <id>
Result<std::vector<std::string_view>> preferred(const Index& index,
                                                std::span<const std::string_view> available,
                                                std::span<const std::string_view> must_include,
                                                std::int32_t size);

}  // namespace kerf::allocate
