#include "health/xid_policy.h"

#include <algorithm>
#include <iterator>

#include "base/strings.h"

namespace kerf::health {

namespace {

constexpr std::uint64_t kApplicationErrors[] = {13, 31, 43, 45, 68, 109};

// For these the XID guide's remedy is a reset of the GPU or of the node: uncorrectable or
// uncontained memory errors (48, 64, 95, 140), firmware that stopped (61, 62, 110, 119, 120, 143),
// NVLink (74), off the bus (79), a failed interrupt (136), the driver asks for it (154).
constexpr std::uint64_t kWantReset[] = {48,  61,  62,  64,  74,  79,  95,
                                        110, 119, 120, 136, 140, 143, 154};

struct XidList {
  bool all = false;
  std::vector<std::uint64_t> xids;  // empty when all
};

XidList parse_list(std::string_view variable, std::string_view text,
                   std::vector<std::string>& warnings) {
  XidList list;
  for (const std::string& item : split(to_lower(text), ',')) {
    std::string_view word = trim(item);
    if (word.empty()) continue;
    auto xid = parse_u64(word);
    if (word == "all" || word == "xids" || xid == 0U) {
      list.all = true;
    } else if (xid) {
      list.xids.push_back(*xid);
    } else {
      warnings.push_back(std::string(variable) + ": \"" + std::string(word) +
                         "\" is not an XID, \"xids\" or \"all\", and is left out");
    }
  }
  if (list.all) list.xids.clear();
  return list;
}

}  // namespace

XidPolicy::XidPolicy(std::string_view disable, std::string_view enable, Actions actions)
    : actions_(std::move(actions)) {
  XidList off = parse_list("DP_DISABLE_HEALTHCHECKS", disable, warnings_);
  XidList on = parse_list("DP_ENABLE_HEALTHCHECKS", enable, warnings_);
  for (std::uint64_t xid : kApplicationErrors) disabled_[xid] = true;
  for (const auto& [xid, action] : actions_) disabled_[xid] = action == XidAction::kIgnore;
  for (std::uint64_t xid : off.xids) disabled_[xid] = true;
  for (std::uint64_t xid : on.xids) disabled_[xid] = false;
  none_ignored_ = on.all;
  watches_ = on.all || !off.all;
}

bool XidPolicy::ignores(std::uint64_t xid) const {
  if (none_ignored_) return false;
  if (!watches_) return true;
  auto found = disabled_.find(xid);
  return found != disabled_.end() && found->second;
}

XidAction XidPolicy::action(std::uint64_t xid) const {
  if (ignores(xid)) return XidAction::kIgnore;
  auto found = actions_.find(xid);
  if (found != actions_.end() && found->second != XidAction::kIgnore) return found->second;
  bool reset = std::find(std::begin(kWantReset), std::end(kWantReset), xid) != std::end(kWantReset);
  return reset ? XidAction::kUnhealthyUntilReset : XidAction::kUnhealthy;
}

}  // namespace kerf::health
