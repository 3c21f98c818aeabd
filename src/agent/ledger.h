// Which advertised devices are in use, as far as anybody has told. Pure: time is passed in.
//
// The device-plugin API tells when a device is given out but never when it comes back. Three
// sources are combined, the better one winning: the kubelet's PodResources list (exact, with the
// pod's name), the list of available devices that comes with GetPreferredAllocation (exact at that
// moment), and Allocate calls.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kerf::agent {

enum class Source { kAllocate, kPreferredAllocation, kPodResources };

struct Use {
  std::int64_t since_ms = 0;  // wall clock; when it was first seen in use
  Source source = Source::kAllocate;
  std::string owner;  // "namespace/pod/container" when known, else empty
};

// What PodResources says of one container.
struct ContainerDevices {
  std::string owner;  // "namespace/pod/container"
  std::vector<std::string> ids;
};

class Ledger {
 public:
  // Allocate answered with success for these ids.
  void allocated(std::span<const std::string_view> ids, std::int64_t now_ms);
  // GetPreferredAllocation was asked: of `all` (the resource's ids), those in `available` are free
  // and the others are in use. Unhealthy devices are not available and not necessarily in use, so
  // only `healthy` ids are judged.
  void available(std::span<const std::string_view> healthy,
                 std::span<const std::string_view> available, std::int64_t now_ms);
  // The kubelet's whole list. Ids allocated after `asked_ms` that are missing from it are kept: the
  // pod was being admitted while the kubelet answered.
  void pod_resources(std::span<const ContainerDevices> containers, std::int64_t asked_ms,
                     std::int64_t now_ms);
  // Forgets ids that are no longer advertised.
  void keep_only(std::span<const std::string> ids);

  // nullptr when free as far as known.
  const Use* find(const std::string& id) const;
  std::size_t size() const { return uses_.size(); }

 private:
  std::map<std::string, Use, std::less<>> uses_;
};

}  // namespace kerf::agent
