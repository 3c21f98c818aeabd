// What is done to a pod through the API server: an Event about it, or its eviction. Loop thread
// only. Knows nothing of why.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/pod_ref.h"
#include "base/clock.h"
#include "base/result.h"
#include "kube/client.h"

namespace kerf::agent {

// The body of an Event (core/v1) about a pod. `reporter` is who says it.
std::string pod_event_body(const PodRef& pod, const std::string& reason, const std::string& message,
                           bool warning, const std::string& node, const std::string& reporter,
                           std::int64_t now_ms);
// The body of an Eviction (policy/v1) that a pod made anew under the same name survives.
std::string eviction_body(const PodRef& pod);

class PodActions {
 public:
  using Done = std::function<void(const Status& outcome)>;

  // The client must outlive this.
  PodActions(kube::Client& client, const Clock& clock, std::string node, std::string reporter);
  ~PodActions();

  // Not tried again: what it tells is in a metric as well.
  void tell(const PodRef& pod, const std::string& reason, const std::string& message, bool warning);
  // A pod whose disruption budget does not allow it answers kBusy; one that is gone is no error.
  void evict(const PodRef& pod, Done done);

  std::uint64_t told() const { return told_; }
  // Why the last Event did not get through; absent while they do.
  const std::optional<Error>& error() const { return error_; }

 private:
  kube::Client& client_;
  const Clock& clock_;
  std::string node_;
  std::string reporter_;
  std::uint64_t told_ = 0;
  std::optional<Error> error_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kerf::agent
