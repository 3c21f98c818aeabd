#include "metrics/histogram.h"

#include <algorithm>

namespace kerf::metrics {

void DurationHistogram::observe_ns(std::int64_t nanoseconds) {
  auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0));
  double seconds = static_cast<double>(ns) * 1e-9;
  auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(ns, std::memory_order_relaxed);
}

HistogramValue DurationHistogram::value() const {
  HistogramValue out;
  out.bounds.assign(kBounds.begin(), kBounds.end());
  for (const auto& count : counts_) out.counts.push_back(count.load(std::memory_order_relaxed));
  out.sum = static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) * 1e-9;
  return out;
}

}  // namespace kerf::metrics
