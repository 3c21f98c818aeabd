// What Allocate must know about this machine's device nodes, looked up when a plan is made.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "allocate/host_facts.h"
#include "base/result.h"
#include "base/roots.h"
#include "config/types.h"

namespace kerf::agent {

// Control nodes and IMEX channels that exist. An IMEX channel that is configured but missing is
// left out with a log line, or is an error (kNotFound) when imex.required is set.
Result<allocate::HostFacts> host_facts(const Roots& roots, const config::Config& config);

// The newest facts, written by the loop and read by whichever thread answers the kubelet.
class FactsCell {
 public:
  std::shared_ptr<const allocate::HostFacts> get() const {
    const std::lock_guard lock(mutex_);
    return facts_;
  }
  void set(allocate::HostFacts facts) {
    auto next = std::make_shared<const allocate::HostFacts>(std::move(facts));
    const std::lock_guard lock(mutex_);
    facts_ = std::move(next);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const allocate::HostFacts> facts_ = std::make_shared<const allocate::HostFacts>();
};

}  // namespace kerf::agent
