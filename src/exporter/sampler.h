// Reads the GPUs once an interval and makes the sheet that scrapes print. Owns a thread
// ("sampler") that decides and never enters the driver; calls are made on a lane of its own, one
// per GPU with a deadline, so that a GPU that hangs costs itself alone. Its session with the driver
// is its own as well: trouble here is none of the device plugin's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "exporter/page.h"
#include "exporter/reader.h"
#include "exporter/types.h"
#include "nvml/errors.h"
#include "nvml/lane.h"

namespace kerf::exporter {

struct SamplerOptions {
  std::vector<std::string> library_candidates;  // see nvml::library_candidates
  std::chrono::milliseconds interval{30'000};
  std::chrono::milliseconds init_deadline{10'000};  // loading the library and nvmlInit
  std::chrono::milliseconds retry{5'000};           // between attempts to start the driver
  std::chrono::milliseconds event_wait{5'000};      // one sleep in the driver
  std::int64_t xid_window_ms = 300'000;
  std::int64_t clock_window_ms = 300'000;
  std::string job_directory;  // "": none
  PageOptions page;
  const Clock* clock = &system_clock();
};

// How long one GPU may take to answer: within half an interval the others are still fresh.
std::chrono::milliseconds read_deadline(std::chrono::milliseconds interval);
// For how long what was read is shown when newer is not to be had.
std::chrono::milliseconds greatest_age(std::chrono::milliseconds interval);

struct SamplerStats {
  std::uint64_t rounds = 0;       // readings of all GPUs
  std::uint64_t failures = 0;     // readings of one GPU that failed
  double last_round_seconds = 0;  // how long the newest took
  bool driver_up = false;
  std::string trouble;              // why the driver cannot be used; empty while it can
  std::vector<std::string> unread;  // UUIDs of GPUs that did not answer the last time
  nvml::CallStats nvml;
  nvml::LaneStats lane;
};

class Sampler {
 public:
  explicit Sampler(SamplerOptions options);
  ~Sampler();  // stops
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  Status start();
  // What is monitored, and whether the driver is known to be there. A new `epoch` says that it was
  // away meanwhile. Any thread, like all below.
  void set_node(std::vector<Entity> entities, bool driver_ready, std::uint64_t epoch);
  void set_counters(std::shared_ptr<const Wanted> wanted);
  void set_attribution(std::shared_ptr<const Attribution> attribution);
  // Ends the threads. Returns within a second even while the driver hangs.
  void stop();

  // The newest sheet; null before the first.
  SheetPtr sheet() const;
  SamplerStats stats() const;

  struct Shared;

 private:
  std::shared_ptr<Shared> shared_;
};

// The jobs of a directory: files named like a GPU's index, or "index.instance", with a job a line.
// Other files are left alone; an unreadable directory has none.
Jobs read_jobs(const std::string& directory);

}  // namespace kerf::exporter
