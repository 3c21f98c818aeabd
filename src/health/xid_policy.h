// Which XIDs make a GPU unhealthy. An XID is the driver's number for an error it reports (NVIDIA
// XID errors guide); some are the fault of the program that ran and say nothing about the GPU.
// Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kerf::health {

// As NVIDIA's device plugin decides it: 13, 31, 43, 45, 68 and 109 are ignored unless enabled.
class XidPolicy {
 public:
  // The default: the six above.
  XidPolicy() : XidPolicy("", "") {}
  // The values of DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS: comma lists of XIDs; "all" or
  // "xids" (or a literal 0) stands for every one. Enabling wins over disabling. Items that are
  // neither are left out with a warning.
  XidPolicy(std::string_view disable, std::string_view enable);

  // False when all checks are switched off, whatever single XIDs are enabled.
  bool watches() const { return watches_; }
  bool ignores(std::uint64_t xid) const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::map<std::uint64_t, bool> disabled_;  // single XIDs; true: ignored
  bool watches_ = true;
  bool none_ignored_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace kerf::health
