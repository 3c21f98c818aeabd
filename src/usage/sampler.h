// Asks the driver, again and again, what each GPU and its processes do, and finds out whose the
// processes are. A GPU that does not answer keeps nobody from asking the others.
//
// Threads: "usage" decides, reads /proc and never enters the driver; "usage-call" makes the calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/roots.h"
#include "nvml/errors.h"
#include "nvml/lane.h"
#include "pods/types.h"
#include "usage/types.h"

namespace kerf::usage {

struct SamplerOptions {
  std::vector<std::string> library_candidates;  // see nvml::library_candidates
  Roots roots = Roots::below("/");
  std::chrono::milliseconds interval{5'000};
  std::chrono::milliseconds init_deadline{10'000};  // loading the library and nvmlInit
  std::chrono::milliseconds call_deadline{5'000};   // reading one GPU
  const Clock* clock = &system_clock();
};

// One round.
struct Sample {
  std::vector<GpuFigures> gpus;           // those that answered
  std::map<std::string, Error> failures;  // by uuid: those that did not, and why
  std::optional<Error> driver;            // why nobody could be asked
  // Processes that the driver lists and that are not to be found below /proc: seen with another
  // process-id namespace than the host's.
  unsigned unseen = 0;
  unsigned unnamed = 0;  // processes in pods whose names nobody knows
};

struct SamplerStats {
  nvml::CallStats nvml;
  nvml::LaneStats lane;
  std::uint64_t rounds = 0;
};

class Sampler {
 public:
  // `on_sample` is called on the thread "usage".
  Sampler(SamplerOptions options, std::function<void(Sample)> on_sample);
  ~Sampler();  // stops
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // The GPUs to ask, by uuid; none while the driver is known not to work. Any thread.
  void set_gpus(std::vector<std::string> uuids);
  void set_interval(std::chrono::milliseconds interval);
  // Whose processes are whose, from now on. Any thread.
  void set_pods(pods::PodsPtr pods);
  // Ends the threads; within a second even when the driver hangs. Nothing is told afterwards.
  void stop();

  SamplerStats stats() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf::usage
