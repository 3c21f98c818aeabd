// Who uses more memory of a shared GPU than is his. Pure: time is passed in.
//
// A container is in breach when it has been above its limit at every look for `window_ms`; it is
// out of breach again when it has been at or below it for as long. One that comes and goes around
// its limit is thus told of once. What is not seen between two looks is not known: an allocation is
// noticed after at most the sampling interval and `window_ms`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "usage/types.h"

namespace kerf::usage {

struct WatchdogOptions {
  std::int64_t window_ms = 30'000;
  unsigned tolerance_percent = 5;  // above the limit, not yet too much
};

// How a container stands with one device.
struct Standing {
  std::uint64_t bytes = 0;
  std::uint64_t limit_bytes = 0;
  bool has_quota = false;
  std::string uid;
  bool breach = false;
  std::int64_t above_since_ms = 0;  // 0: is not above
  std::int64_t below_since_ms = 0;  // 0: is not below
};

class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options = {}) : options_(options) {}
  void configure(WatchdogOptions options) { options_ = options; }

  // Something to tell: `began` or ended.
  struct Turn {
    Key key;
    bool began = false;
    Standing standing;
  };
  // Everything known now; containers without a limit are not judged, and those not among `uses` are
  // forgotten. A pod that was made anew (another uid) starts anew.
  std::vector<Turn> look(const std::map<Key, Use>& uses, std::int64_t now_ms);

  const std::map<Key, Standing>& standings() const { return standings_; }

 private:
  WatchdogOptions options_;
  std::map<Key, Standing> standings_;
};

}  // namespace kerf::usage
