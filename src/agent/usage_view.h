// What has been added up about the use of GPUs, as metrics and as what the page shows. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "inventory/types.h"
#include "metrics/exposition.h"
#include "metrics/node_status.h"
#include "usage/account.h"
#include "usage/types.h"

namespace kerf::agent {

// What a GPU did of late: one point a round, the oldest of which goes.
class UsageHistory {
 public:
  static constexpr std::size_t kPoints = 120;

  // `use` is null for a GPU that did not answer: a gap.
  void add(const std::string& gpu, const usage::GpuUse* use);
  void keep_only(const std::set<std::string>& gpus);
  // Fills the series.
  void describe(const std::string& gpu, metrics::GpuUse& into) const;

 private:
  struct Point {
    float busy;  // NaN: absent
    float power;
    float temperature;
  };
  std::map<std::string, std::deque<Point>> points_;
};

// Containers that are above their limit for longer than the watchdog's window.
using OverLimit = std::set<usage::Key>;

// Counters and gauges of each container and of each GPU. Names: docs/usage.md.
std::vector<metrics::Family> usage_families(const usage::Account& account,
                                            const inventory::Snapshot& snapshot,
                                            const OverLimit& over);

// Fills GpuStatus::use of every GPU that has been looked at.
void describe_usage(const usage::Account& account, const UsageHistory& history,
                    const OverLimit& over, std::int64_t interval_ms, metrics::NodeStatus& into);

}  // namespace kerf::agent
