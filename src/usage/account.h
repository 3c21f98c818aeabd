// Adds up who used what of a GPU. Pure: readings go in, sums come out; time is in the readings.
//
// The rules, so that the sums are the GPU's own figures:
//   memory  what the driver says of each process; the rest is `memory_other`.
//   time    the GPU's busy time is split by the processes' SM activity: containers, the host and
//           idle time add up to the time observed.
//   energy  of an interval, the floor (the least power ever seen, which an idle GPU draws) for the
//           idle part of its time is `idle_j`; all the rest is split like time.
//   MIG     drivers tell no activity: a MIG device with processes counts as busy with its share of
//           the GPU's compute slices, and memory is exact.
// What cannot be split (a process out of sight, an interval too long to know) is `other`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "usage/types.h"

namespace kerf::usage {

struct AccountOptions {
  std::int64_t longest_ms = 60'000;  // an interval longer than this is not split
  std::int64_t forget_ms = 600'000;  // containers that held and used nothing for as long
  std::size_t most = 4096;           // containers known at once; the longest idle ones go first
};

class Account {
 public:
  explicit Account(AccountOptions options = {}) : options_(options) {}

  // A reading of one GPU, with who holds its devices now. Readings of one GPU come in order; one
  // that is not later than the last is ignored.
  void add(const GpuFigures& figures, const Layout& layout);
  // This GPU could not be read: what was known of it now is no longer, its counters stay.
  void missed(const Layout& layout, std::int64_t now_ms);
  // GPUs that are no longer there.
  void keep_only(const std::map<std::string, Layout>& layouts);

  const std::map<Key, Use>& uses() const { return uses_; }
  const std::map<std::string, GpuUse>& gpus() const { return gpus_; }

 private:
  struct Before {
    std::int64_t mono_ms = 0;
    std::optional<std::uint64_t> energy_mj;
  };
  struct Interval;

  void clear_now(const Layout& layout);
  void take_holdings(const Layout& layout, std::int64_t now_ms);
  void take_memory(const GpuFigures& figures, const Layout& layout, GpuUse& gpu);
  Interval interval_of(const GpuFigures& figures, const Layout& layout, const Before& before) const;
  void take_held(const Interval& interval, const Layout& layout);
  void split(const Interval& interval, GpuUse& gpu);
  void settle(const Interval& interval, const Layout& layout, GpuUse& gpu);
  void forget(std::int64_t now_ms);
  Use& use_of(const pods::Owner& owner, const std::string& uuid, std::int64_t now_ms);

  AccountOptions options_;
  std::map<Key, Use> uses_;
  std::map<std::string, GpuUse> gpus_;
  std::map<std::string, std::optional<Before>> before_;
};

}  // namespace kerf::usage
