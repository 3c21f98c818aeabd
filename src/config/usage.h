// The `usage` section of the file as values: how often it is asked who uses a GPU, and what happens
// to a container that uses more of its memory than is its own. A section of kerf's own; NVIDIA's
// plugin does not know it and ignores it.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace kerf::config {

// What is done about a container above its share of a GPU's memory.
enum class OverShare {
  kNone,   // a metric says so
  kEvent,  // and an Event on the pod
  kEvict,  // and the pod is evicted
};

// The words for it.
inline constexpr std::pair<std::string_view, OverShare> kOverShare[] = {
    {"none", OverShare::kNone},
    {"event", OverShare::kEvent},
    {"evict", OverShare::kEvict},
};

struct UsageOptions {
  std::int64_t interval_ns = 5'000'000'000;  // between two looks
  OverShare over_share = OverShare::kNone;
  std::int64_t window_ns = 30'000'000'000;  // above its share for so long before it counts
  unsigned tolerance_percent = 5;           // above the share, and not yet counted; 0 to 100
  bool quota_annotation = true;             // the pod's own annotation goes before the fair share
  bool operator==(const UsageOptions&) const = default;
};

}  // namespace kerf::config
