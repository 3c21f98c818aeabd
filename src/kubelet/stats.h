// What the room counts for one resource, for metrics and the status page. Plain atomics: written
// from any thread, read at any time; a reader may see one call counted in one number and not yet in
// another.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace kerf::kubelet {

// Durations in cumulative-free buckets: counts[i] are those <= kBounds[i] seconds and above the
// bound before; the last counts those above all.
class Histogram {
 public:
  static constexpr std::array<double, 10> kBounds = {
      0.000'01, 0.000'025, 0.000'05, 0.000'1, 0.000'25, 0.001, 0.005, 0.025, 0.1, 1.0};

  void observe(std::chrono::nanoseconds duration) {
    const double seconds = std::chrono::duration<double>(duration).count();
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
    counts_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_ns_.fetch_add(static_cast<std::uint64_t>(duration.count()), std::memory_order_relaxed);
  }
  std::uint64_t count(std::size_t bucket) const {
    return counts_[bucket].load(std::memory_order_relaxed);
  }
  // Seconds.
  double sum() const { return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) * 1e-9; }
  std::uint64_t total() const {
    std::uint64_t all = 0;
    for (const auto& bucket : counts_) all += bucket.load(std::memory_order_relaxed);
    return all;
  }

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> counts_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

struct Stats {
  Histogram allocate;   // time inside the handler, failed ones too
  Histogram preferred;  // likewise
  std::atomic<std::uint64_t> allocate_errors{0};
  std::atomic<std::uint64_t> preferred_errors{0};
  std::atomic<std::uint64_t> registrations{0};          // accepted by the kubelet
  std::atomic<std::uint64_t> registration_failures{0};  // refused, timed out, unreachable
  std::atomic<std::uint64_t> updates{0};                // device lists published
};

}  // namespace kerf::kubelet
