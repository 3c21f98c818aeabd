// Keeps GPUs at their targets: looks when it is time or something happened, sets what is not as it
// should be, and reports. A thread of its own ("power") that never enters the driver; calls run on
// a lane of its own ("power-call") with deadlines. A session with the driver is held for a look
// only, so that whoever else in the process starts the driver anew is not held back by ours.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/power.h"
#include "power/controller.h"
#include "power/gpus.h"

namespace kerf::power {

struct KeeperOptions {
  std::vector<std::string> library_candidates;  // see nvml::library_candidates
  config::PowerOptions power;
  Smi smi;
  std::chrono::milliseconds call_deadline{10'000};    // reading or changing one GPU
  std::chrono::milliseconds restore_deadline{5'000};  // for all that is put back at the end
  const Clock* clock = &system_clock();
};

using ReportPtr = std::shared_ptr<const Report>;

class Keeper {
 public:
  // Called on the keeper's thread after each look.
  using OnReport = std::function<void(ReportPtr)>;

  static Result<std::unique_ptr<Keeper>> start(KeeperOptions options, OnReport on_report);
  ~Keeper();  // stops
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // Any thread; each causes a look at once when something is different.
  void observe(Node node);
  void configure(config::PowerOptions power);

  // Ends the thread; with restoreOnExit the defaults are put back first. Returns within a second,
  // or restore_deadline more. A call that hangs is left to end by itself. `on_report` is not called
  // afterwards.
  void stop();

 private:
  class Thread;
  explicit Keeper(std::shared_ptr<Thread> thread) : thread_(std::move(thread)) {}
  std::shared_ptr<Thread> thread_;
};

}  // namespace kerf::power
