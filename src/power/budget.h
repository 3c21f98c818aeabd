// Shares a node's watts out among its GPUs: each gets what it can take at least, then what it needs
// by weight, then what is left by weight. Pure: draws come in, limits go out.
//
// The total holds at every instant, not only in the end: limits are lowered first, and one is
// raised only by what others were seen to have given up (`Ledger`).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kerf::power {

// A GPU that takes part. Milliwatts.
struct Sharer {
  std::string uuid;
  std::uint32_t min_mw = 0;              // never less
  std::uint32_t max_mw = 0;              // never more: the board's highest, or its target
  unsigned weight = 1;                   // at least 1
  std::uint32_t limit_mw = 0;            // in force now
  std::optional<std::uint32_t> draw_mw;  // now; unknown: counts as wanting all
};

struct Share {
  std::string uuid;
  std::uint32_t limit_mw = 0;
  bool operator==(const Share&) const = default;
};

struct Shares {
  std::vector<Share> shares;  // in the order of the sharers, whole watts
  // The least that all boards take together is more than the total: everybody gets the least.
  bool impossible = false;
};

// What each gets when `wants` says how much each could use. Their sum is at most `total_mw` unless
// impossible. `wants` is as long as `sharers`.
Shares share_out(std::uint32_t total_mw, std::span<const Sharer> sharers,
                 std::span<const std::uint32_t> wants);

// Remembers what GPUs drew, so that shares follow demand without trembling.
class Sharing {
 public:
  struct Settings {
    std::uint32_t total_mw = 0;
    std::uint32_t hysteresis_mw = 10'000;  // shares do not move for less
    unsigned memory = 6;  // looks for which a GPU keeps what it needed before it is taken away
  };
  explicit Sharing(Settings settings) : settings_(settings) {}

  // One look: the limits that GPUs should have from now on. Unchanged while nobody lacks anything
  // that another could spare. `total_mw` is what there is for these (the settings' total less what
  // GPUs hold that take no part).
  Shares look(std::uint32_t total_mw, std::span<const Sharer> sharers);

 private:
  struct History {
    std::deque<std::uint32_t> wants;
  };
  std::uint32_t wanted(const Sharer& sharer);

  Settings settings_;
  std::map<std::string, History> history_;
};

// What limits are in force as far as is known, so that a raise is only made when it fits. A GPU
// that does not answer keeps what it had.
class Ledger {
 public:
  // What was read, or was answered to a change.
  void saw(const std::string& uuid, std::uint32_t limit_mw) { held_[uuid] = limit_mw; }
  // The GPU is gone for good.
  void forget(const std::string& uuid) { held_.erase(uuid); }
  std::uint64_t sum() const;
  std::optional<std::uint32_t> held(const std::string& uuid) const;
  // Whether this limit keeps the sum within the total; one that lowers always may.
  bool fits(const std::string& uuid, std::uint32_t limit_mw, std::uint32_t total_mw) const;
  const std::map<std::string, std::uint32_t>& all() const { return held_; }

 private:
  std::map<std::string, std::uint32_t> held_;
};

}  // namespace kerf::power
