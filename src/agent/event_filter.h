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
#include <vector>

namespace kerf::agent {

// An Event about this node.
struct KubeEvent {
  std::string reason;  // "GPUUnhealthy"
  std::string message;
  bool warning = false;
  unsigned count = 1;         // how often it happened between these two
  std::int64_t first_ms = 0;  // wall clock, milliseconds since the epoch
  std::int64_t last_ms = 0;
  bool operator==(const KubeEvent&) const = default;
};

class EventFilter {
 public:
  static constexpr std::int64_t kRepeatMs = 300'000;  // the same again within this is only counted
  static constexpr unsigned kBurst = 10;              // new ones that may come at once
  static constexpr std::int64_t kRefillMs = 10'000;   // ... and one more after each of these
  static constexpr std::size_t kMaxHeld = 64;         // different ones held back

  // Something has happened at `now_ms`. What is held back is told by take().
  void happened(std::string reason, std::string message, bool warning, std::int64_t now_ms);
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
  using Key = std::pair<std::string, std::string>;

  void refill(std::int64_t now_ms);
  void forget(std::int64_t now_ms);

  std::map<Key, Said> said_;
  unsigned allowance_ = kBurst;
  std::int64_t refilled_ms_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace kerf::agent
