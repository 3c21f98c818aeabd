// Counting what happened within the last minutes, for DCGM_EXP_XID_ERRORS_COUNT and
// DCGM_EXP_CLOCK_EVENTS_COUNT. Pure: the time is an argument. What is counted leaves the window in
// steps of a hundredth of it, so that a flood of events takes no more memory than a few.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exporter/types.h"

namespace kerf::exporter {

// Counts keyed by a number (an XID, a bit) within a sliding window.
class Window {
 public:
  explicit Window(std::int64_t length_ms);
  void add(std::int64_t now_ms, std::int64_t key, std::int64_t times = 1);
  // Keys that were seen within the window, with how often. `now_ms` never goes back.
  std::map<std::int64_t, std::int64_t> counts(std::int64_t now_ms);
  std::int64_t length_ms() const { return length_ms_; }

 private:
  struct Bucket {
    std::int64_t begin = 0;
    std::map<std::int64_t, std::int64_t> counts;
  };
  void expire(std::int64_t now_ms);

  std::int64_t length_ms_;
  std::int64_t step_ms_;
  std::deque<Bucket> buckets_;
};

// What the driver has reported of each GPU by events: the last XID, and how often each came.
class XidLog {
 public:
  explicit XidLog(std::int64_t window_ms) : window_ms_(window_ms) {}

  // An event on a GPU, on one of its GPU instances when that is known.
  void add(std::int64_t now_ms, const std::string& uuid, std::optional<unsigned> instance,
           std::int64_t xid);
  // Of an entity; a GPU's events also concern its instances. 0 before the first.
  std::int64_t last(const Entity& entity) const;
  std::map<std::int64_t, std::int64_t> counts(const Entity& entity, std::int64_t now_ms);
  // Forgets all GPUs but these.
  void keep(const std::vector<std::string>& uuids);
  std::int64_t window_ms() const { return window_ms_; }

 private:
  // Without an instance: what was reported of the GPU as a whole.
  using Key = std::pair<std::string, std::optional<unsigned>>;
  struct Entry {
    std::int64_t last = 0;
    std::int64_t order = 0;  // greater: later
    Window window;
  };

  std::int64_t window_ms_;
  std::int64_t order_ = 0;
  std::map<Key, Entry> entries_;
};

// The names of clock event reasons, by bit: {0x1, "gpu_idle"}. Source: metrics contract §1.4.
std::vector<std::pair<std::uint64_t, const char*>> clock_event_names();

// The samples of the two counters for one entity, labels and value. `times` as a Window gives them.
std::vector<Reading::Extra> xid_samples(std::size_t counter,
                                        const std::map<std::int64_t, std::int64_t>& times,
                                        std::int64_t window_ms);
std::vector<Reading::Extra> clock_samples(std::size_t counter,
                                          const std::map<std::int64_t, std::int64_t>& times,
                                          std::int64_t window_ms);

}  // namespace kerf::exporter
