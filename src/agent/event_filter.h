// How often the same thing is said: Kubernetes Events are objects in the API server's store, and a
// GPU that flaps must not fill it. Events are only ever created, never changed, since that needs no
// more rights; so what repeats is counted here and told once. Pure: the time comes in.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "agent/pod_ref.h"

namespace kerf::agent {

// An Event about this node, or about a pod of it.
struct KubeEvent {
  std::string reason;  // "GPUUnhealthy"
  std::string message;
  bool warning = false;
  unsigned count = 1;         // how often it happened between these two
  std::int64_t first_ms = 0;  // wall clock, milliseconds since the epoch
  std::int64_t last_ms = 0;
  std::optional<PodRef> pod = std::nullopt;  // none: about the node
  bool operator==(const KubeEvent&) const = default;
};

// How many are told.
struct EventLimits {
  unsigned burst = 10;              // new ones that may come at once
  std::int64_t refill_ms = 10'000;  // ... and one more after each of these
  std::size_t held = 64;            // different ones held back
};

class EventFilter {
 public:
  static constexpr std::int64_t kRepeatMs = 300'000;  // the same again within this is only counted

  explicit EventFilter(EventLimits limits = {}) : limits_(limits), allowance_(limits.burst) {}

  // Something has happened at `now_ms`. What is held back is told by take().
  void happened(std::string reason, std::string message, bool warning, std::int64_t now_ms,
                std::optional<PodRef> pod = {});
  // What may be told now, oldest first.
  std::vector<KubeEvent> take(std::int64_t now_ms);
  // When take() may have more; absent when nothing is held.
  std::optional<std::int64_t> next_ms() const;
  // Events that were neither told nor counted, because too many different ones were held.
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Said {
    KubeEvent held;  // count 0: nothing since it was last told
    std::int64_t not_before_ms = 0;
  };
  using Key = std::tuple<std::optional<PodRef>, std::string, std::string>;

  void refill(std::int64_t now_ms);
  void forget(std::int64_t now_ms);

  EventLimits limits_;
  std::map<Key, Said> said_;
  unsigned allowance_;
  std::int64_t refilled_ms_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace kerf::agent
