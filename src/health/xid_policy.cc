#include "health/xid_policy.h"

#include "base/strings.h"

namespace kerf::health {

namespace {

constexpr std::uint64_t kApplicationErrors[] = {13, 31, 43, 45, 68, 109};

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

XidPolicy::XidPolicy(std::string_view disable, std::string_view enable) {
  XidList off = parse_list("DP_DISABLE_HEALTHCHECKS", disable, warnings_);
  XidList on = parse_list("DP_ENABLE_HEALTHCHECKS", enable, warnings_);
  for (std::uint64_t xid : kApplicationErrors) disabled_[xid] = true;
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

}  // namespace kerf::health
