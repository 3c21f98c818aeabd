// Runs one control daemon of NVIDIA's and stays with it: starts it in the foreground as a child,
// gives it its limits, asks it regularly whether it still answers, starts it again when it died or
// hangs, and takes it down in order. One thread a daemon, which does nothing but wait; whoever owns
// it is never blocked. Source of the steps: device-plugin contract §10.2, §10.3.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "mps/wanted.h"

namespace kerf::mps {

struct Timing {
  std::chrono::milliseconds start{20'000};       // until a new daemon answers
  std::chrono::milliseconds command{5'000};      // for one command, and for nvidia-smi
  std::chrono::milliseconds check_every{5'000};  // between two questions
  std::chrono::milliseconds check{3'000};        // for the answer; the second miss ends the daemon
  std::chrono::milliseconds quit{3'000};         // for `quit`, and again until it has ended
  std::chrono::milliseconds retry_first{1'000};  // pause after a failure, doubled each time …
  std::chrono::milliseconds retry_longest{30'000};  // … up to this
};

struct Surroundings {
  std::string root;         // of the files, see layout.h
  std::string driver_root;  // where the driver's programs are looked for first
  std::string path;         // and then: "/usr/bin:/bin"
  // The kernel's SELinux tree. Where it exists pipes are labelled for containers.
  std::string selinux;
  std::vector<std::string> environment;  // of nvidia-smi, NAME=value
  Timing timing;
};

struct State {
  enum class Phase {
    kStarting,
    kReady,      // answers, and has its limits
    kUncertain,  // missed one answer
    kFailed,     // is started again after a pause
    kStopped,
  };
  Phase phase = Phase::kStarting;
  std::optional<Error> error;  // kFailed, kUncertain: why
  unsigned starts = 0;         // of the daemon, so far
};

class Supervisor {
 public:
  // Called on the supervisor's thread whenever the state changed.
  using Changed = std::function<void(const State&)>;
  // Called on the supervisor's thread while a daemon is taken down: whether the GPU is to stay in
  // exclusive mode, because another daemon wants it.
  using Keeps = std::function<bool(const std::string& uuid)>;

  // Errors: kInternal when there is no thread to be had.
  static Result<std::unique_ptr<Supervisor>> start(Surroundings surroundings, Wanted wanted,
                                                   Changed changed, Keeps keeps);
  // Stops and waits, if that was not done.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  const Wanted& wanted() const;
  // Takes the daemon down: `.started` away, `quit`, the process ended, GPUs shared as before, logs
  // removed. What fails on the way is logged and does not keep the rest from being done. Returns at
  // once; `changed` tells kStopped.
  void stop();
  bool stopped() const;
  // Waits for the end of a stop: at most some 10 s, each step has its limit.
  void join();

 private:
  struct Impl;
  explicit Supervisor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kerf::mps
