// Keeps the picture of the node's GPUs true: starts the driver, reads the GPUs, watches their
// events and publishes a new snapshot whenever something is different. Everything that touches the
// driver happens on threads of its own, with deadlines; the caller is never blocked by a driver
// that hangs.
//
// Threads: "nvml-watch" decides and never enters the driver, "nvml-call" makes the calls,
// "nvml-events" sleeps in the driver until a GPU reports trouble. Besides what the driver tells,
// one cheap look every `probe` notices a driver that was unloaded or a GPU that vanished without a
// word.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/roots.h"
#include "health/settings.h"
#include "inventory/types.h"
#include "nvml/errors.h"
#include "nvml/lane.h"

namespace kerf::health {

struct WatcherOptions {
  // Where NVML is looked for, see nvml::library_candidates.
  std::vector<std::string> library_candidates;
  Roots roots = Roots::below("/");
  Settings settings;
  std::chrono::milliseconds init_deadline{10'000};  // loading the library and nvmlInit
  std::chrono::milliseconds call_deadline{10'000};  // reading one GPU, or one look
  std::chrono::milliseconds retry{5'000};           // between attempts to start an absent driver
  std::chrono::milliseconds probe{10'000};          // between looks at a driver that says nothing
  std::chrono::milliseconds event_wait{5'000};      // one sleep in the driver
  std::chrono::milliseconds event_grace{10'000};    // how late from it is not yet hanging
  const Clock* clock = &system_clock();             // for the times shown to people
  // Where what the driver says only once is kept for the next agent, see memory_file.h; "":
  // nowhere.
  std::string state_directory;
};

// How often an XID came from a GPU; ignored ones are counted too.
struct XidCount {
  std::string gpu;  // uuid, empty when the driver did not say
  std::uint64_t xid = 0;
  std::uint64_t count = 0;
  std::int64_t last_ms = 0;  // wall clock
  bool ignored = false;      // does not make a GPU unhealthy
};

struct WatcherStats {
  nvml::CallStats nvml;
  nvml::LaneStats lane;
  std::uint64_t readings = 0;  // of all GPUs
  std::uint64_t condition_polls = 0;
  std::uint64_t driver_starts = 0;  // that succeeded
  std::uint64_t driver_start_failures = 0;
  unsigned watched = 0;               // GPUs whose events are watched now
  std::uint64_t events = 0;           // received from the driver
  std::uint64_t events_dropped = 0;   // because they came faster than they could be judged
  double events_overdue_seconds = 0;  // how long the event thread has been hanging, else 0
  std::vector<XidCount> xids;
};

class Watcher {
 public:
  // Hands a function to the caller's loop, which must run it on the thread that calls stop().
  using Post = std::function<void(std::function<void()>)>;
  using OnChange = std::function<void(inventory::SnapshotPtr)>;

  explicit Watcher(WatcherOptions options);
  ~Watcher();  // stops
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Starts and returns at once. `on_change` is called through `post`: first with the outcome of
  // starting the driver, whatever it is, then whenever the content of the snapshot has changed.
  // Each snapshot has a greater generation than the one before. Not called any more once stop()
  // returned.
  Status start(Post post, OnChange on_change);

  // Reads everything again, or tries at once to start an absent driver. GPUs that the driver no
  // longer lists are forgotten. Any thread.
  void refresh();
  // Judges by these from now on. Any thread.
  void configure(Settings settings);
  // Takes back what XIDs and conditions did to this GPU or MIG device, or to all with "". Any
  // thread.
  void clear(std::string_view uuid = "");

  // Ends the threads and shuts the driver down. Returns within a second even while the driver
  // hangs; a thread that it keeps ends by itself when it is let go.
  void stop();

  // The snapshot published last; before the first an empty one of generation 0. Any thread.
  inventory::SnapshotPtr current() const;
  // Any thread.
  WatcherStats stats() const;

 private:
  struct Shared;
  WatcherOptions options_;
  std::shared_ptr<Shared> shared_;  // null until started
};

}  // namespace kerf::health
