// A histogram of durations that many threads may feed at once, without locks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "metrics/exposition.h"

namespace kerf::metrics {

// Buckets from 10 µs to 1 s, for calls that are answered from memory and must never be slow.
class DurationHistogram {
 public:
  // Upper bounds in seconds.
  static constexpr std::array<double, 14> kBounds = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025,
                                                     0.0005,  0.001,    0.0025,  0.005,  0.01,
                                                     0.05,    0.1,      0.5,     1.0};

  // Any thread. Negative durations count as 0.
  void observe_ns(std::int64_t nanoseconds);

  // Any thread. Counts observed meanwhile may or may not be in it; it is consistent in itself
  // (the total is the sum of its buckets).
  HistogramValue value() const;

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> counts_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

}  // namespace kerf::metrics
