// Acts on what the memory watchdog finds: log line, Event, eviction, as configured. Loop thread
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/pod_actions.h"
#include "agent/usage_view.h"
#include "base/result.h"
#include "config/usage.h"
#include "metrics/exposition.h"
#include "metrics/node_status.h"
#include "usage/watchdog.h"

namespace kerf::agent {

// "uses 8.0 GiB of GPU-…, 2.0 GiB above its fair share of 6.0 GiB"
std::string breach_text(const usage::Key& key, const usage::Standing& standing);

class MemoryPolice {
 public:
  using Note = std::function<void(metrics::EventLevel, std::string)>;

  // Without `actions` (no API server) there is neither Event nor eviction.
  MemoryPolice(PodActions* actions, Note note) : actions_(actions), note_(std::move(note)) {}

  void configure(const config::UsageOptions& options);
  void look(const std::map<usage::Key, usage::Use>& uses, std::int64_t now_ms);

  OverLimit over() const;
  std::vector<metrics::Family> families() const;
  std::optional<Error> problem() const;

 private:
  void turn(const usage::Watchdog::Turn& turn);
  void evict_one(std::int64_t now_ms);
  void evicted(const usage::Key& key, const Status& outcome);

  PodActions* actions_;
  Note note_;
  config::UsageOptions options_;
  usage::Watchdog dog_;
  std::int64_t last_eviction_ms_ = 0;
  bool evicting_ = false;
  std::uint64_t breaches_ = 0;
  std::uint64_t evictions_ = 0;
  std::uint64_t refused_ = 0;
  std::optional<Error> eviction_error_;
};

}  // namespace kerf::agent
