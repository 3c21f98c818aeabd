// The messages of the kubelet's device plugin API v1beta1 in protobuf's wire format, both ways, for
// the part that a plugin plays. Written by hand because there are few of them and it keeps the
// protobuf library, its start-up work and its per-string allocations out of the product; the tests
// compare every function with generated code. Pure.
//
// Field numbers: the kubelet's public field table (package v1beta1). Unknown fields are skipped, as
// protobuf demands, so newer kubelets are understood.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "edits/types.h"
#include "plan/types.h"

namespace kerf::kubelet {

// The method names of the API.
inline constexpr char kRegister[] = "/v1beta1.Registration/Register";
inline constexpr char kOptions[] = "/v1beta1.DevicePlugin/GetDevicePluginOptions";
inline constexpr char kListAndWatch[] = "/v1beta1.DevicePlugin/ListAndWatch";
inline constexpr char kPreferred[] = "/v1beta1.DevicePlugin/GetPreferredAllocation";
inline constexpr char kAllocate[] = "/v1beta1.DevicePlugin/Allocate";
inline constexpr char kPreStart[] = "/v1beta1.DevicePlugin/PreStartContainer";

// Device ids as they lie in the request's bytes; valid as long as those.
using Ids = std::vector<std::string_view>;

struct PreferredRequest {
  Ids available;
  Ids must_include;
  std::int32_t size = 0;
};

// More than any kubelet sends; what goes beyond is refused as kInvalid rather than stored.
inline constexpr std::size_t kMaxContainers = 1024;
inline constexpr std::size_t kMaxIds = 65536;

// One element a container request. Errors: kCorrupt (not such a message), kInvalid (too many).
Result<std::vector<Ids>> decode_allocate(std::string_view bytes);
Result<std::vector<PreferredRequest>> decode_preferred(std::string_view bytes);
// True when the bytes are a well-formed message whatever its fields; for requests not looked into.
bool well_formed(std::string_view bytes);

std::string encode_options(bool preferred_allocation);
std::string encode_register(std::string_view endpoint, std::string_view resource,
                            bool preferred_allocation);
// Devices in the order given; NUMA topology where known.
std::string encode_list(std::span<const plan::Device> devices);
// One element a container response.
std::string encode_allocate(std::span<const edits::Edits> containers);
std::string encode_preferred(std::span<const Ids> containers);

}  // namespace kerf::kubelet
