// The body of the watch thread, see watcher.h. One object, one thread; what others may read of it
// is behind `Published`.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "health/conditions.h"
#include "health/inbox.h"
#include "health/memory_file.h"
#include "health/tracker.h"
#include "health/watcher.h"
#include "inventory/builder.h"
#include "inventory/types.h"
#include "nvml/errors.h"
#include "nvml/events.h"
#include "nvml/lane.h"

namespace kerf::health {

// What the watch thread shows to others.
class Published {
 public:
  inventory::SnapshotPtr snapshot() const {
    std::lock_guard lock(mutex_);
    return snapshot_;
  }
  void set_snapshot(inventory::SnapshotPtr snapshot) {
    std::lock_guard lock(mutex_);
    snapshot_ = std::move(snapshot);
  }
  WatcherStats stats() const {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  // Changes the figures under the lock.
  template <typename Change>
  void update(Change change) {
    std::lock_guard lock(mutex_);
    change(stats_);
  }

 private:
  mutable std::mutex mutex_;
  inventory::SnapshotPtr snapshot_ = std::make_shared<const inventory::Snapshot>();
  WatcherStats stats_;
};

class WatchLoop {
 public:
  using Publish = std::function<void(inventory::SnapshotPtr)>;

  // `options`, `inbox`, `lane` and `published` must outlive the loop; `slot` and `counters` are
  // shared with calls that may hang. `publish` is called on the loop's thread.
  struct Parts {
    const WatcherOptions& options;
    std::shared_ptr<Inbox> inbox;
    nvml::Lane& lane;
    std::shared_ptr<nvml::SessionSlot> slot;
    std::shared_ptr<nvml::CallCounters> counters;
    Published& published;
    Publish publish;
  };
  explicit WatchLoop(Parts parts);

  // Until the inbox says stop.
  void run();

 private:
  using Steady = std::chrono::steady_clock;

  void step();
  void handle(Mail mail);
  void on_watching(const std::vector<nvml::EventPump::Sink::Refusal>& refusals);
  void on_pump_ended(const Error& error);
  void forget_unlisted();
  void on_events(const std::vector<nvml::Event>& events);
  void count_xid(const nvml::Event& event);
  void look();
  void poll_conditions();
  void configure(Settings settings);

  void start_driver();
  void start_failed(const Error& plain);
  void driver_trouble(const Error& plain);
  void drop_session();

  void read_all();
  void take_reading(inventory::Reading reading);
  void recall();
  void read_links();

  void keep_pump();
  void start_pump(std::vector<std::string> uuids);
  void retire_pump();
  bool retired_pump_blocks();
  void check_pump();
  bool wants_pump() const;
  std::vector<std::string> watchable() const;

  void publish();
  void log_changes(const inventory::Snapshot& before, const inventory::Snapshot& after) const;
  void warn_once(const std::vector<std::string>& warnings);
  inventory::DriverAccess access(std::chrono::milliseconds limit) const;
  std::int64_t now_ms() const { return parts_.options.clock->wall_ms(); }
  Steady::time_point next_wake() const;

  Parts parts_;
  Tracker tracker_;
  MemoryFile memory_;
  bool recalled_ = false;

  inventory::Driver driver_;                 // state and detail as published
  std::vector<inventory::Gpu> gpus_;         // last known, unmarked
  std::vector<inventory::GpuFault> faults_;  // those of them that could not be read
  unsigned listed_ = 0;                      // how many the driver counted
  std::vector<inventory::Link> links_;
  std::vector<std::string> links_of_;  // the uuids they were read for

  bool up_ = false;         // a session is in the slot
  bool was_up_ = false;     // since the start of this process
  bool seen_gone_ = false;  // the driver was truly away since it was last up
  bool want_read_ = false;
  bool published_ = false;
  Steady::time_point due_;  // of the next attempt or look

  std::unique_ptr<nvml::EventPump> pump_;
  std::vector<std::string> pump_uuids_;
  std::uint64_t pump_number_ = 0;
  Steady::time_point pump_started_;
  Steady::time_point pump_not_before_;
  std::chrono::milliseconds pump_pause_{0};
  unsigned pump_ends_ = 0;  // in quick succession
  std::chrono::milliseconds refusal_pause_{0};
  bool pump_refused_ = false;
  std::unique_ptr<nvml::EventPump> retired_;  // may still hold on to the old session
  Steady::time_point retired_until_;

  Steady::time_point conditions_due_;
  Unsupported unsupported_;

  std::set<std::string> warned_;
};

}  // namespace kerf::health
