// What an XID does to a GPU. An XID is the driver's number for an error it reports (NVIDIA XID
// errors guide); some are the fault of the program that ran and say nothing about the GPU. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kerf::health {

enum class XidAction {
  kIgnore,
  kUnhealthy,            // until the GPU has been quiet for a while
  kUnhealthyUntilReset,  // until the GPU was reset or the driver loaded anew
  kDrain,                // the same, and people are told to move the pods away
};

// Which XIDs count is decided as NVIDIA's device plugin does: 13, 31, 43, 45, 68 and 109 are
// ignored unless enabled. What those that count do is kerf's: those that the XID guide wants a
// reset for last until a reset, others until the GPU is quiet.
class XidPolicy {
 public:
  using Actions = std::map<std::uint64_t, XidAction>;

  // The default: the six above.
  XidPolicy() : XidPolicy("", "") {}
  // The values of DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS: comma lists of XIDs; "all" or
  // "xids" (or a literal 0) stands for every one. Enabling wins over disabling. Items that are
  // neither are left out with a warning.
  // `actions` overrides the defaults; the two lists go before it, in that an XID that is disabled
  // is ignored and one that is enabled is not.
  XidPolicy(std::string_view disable, std::string_view enable, Actions actions = {});

  // False when all checks are switched off, whatever single XIDs are enabled.
  bool watches() const { return watches_; }
  bool ignores(std::uint64_t xid) const;
  XidAction action(std::uint64_t xid) const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::map<std::uint64_t, bool> disabled_;  // single XIDs; true: ignored
  Actions actions_;
  bool watches_ = true;
  bool none_ignored_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace kerf::health
