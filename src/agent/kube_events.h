// Sends Kubernetes Events about this node and its pods to the API server, not too many of them, and
// keeps those that could not be sent for a while. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/event_filter.h"
#include "base/clock.h"
#include "base/result.h"
#include "kube/client.h"

namespace kerf::agent {

// The body of an Event (core/v1). `reporter` is who says it, "kerf".
std::string event_body(const KubeEvent& event, const std::string& node,
                       const std::string& reporter);

class KubeEvents {
 public:
  // `changed` when error() is another. The client must outlive this.
  KubeEvents(asio::io_context& loop, const Clock& clock, kube::Client& client, std::string node,
             std::string reporter, std::function<void()> changed, EventLimits limits = {});
  ~KubeEvents();

  // About the node, or a pod. Texts are cut to what the API server accepts.
  void send(std::string reason, std::string message, bool warning, std::optional<PodRef> pod = {});
  // Why the last attempt failed; absent while they get through.
  const std::optional<Error>& error() const { return error_; }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t dropped() const { return filter_.dropped() + dropped_; }
  // Nothing is on its way or waiting for its turn.
  bool idle() const { return waiting_.empty() && !busy_; }

 private:
  struct Timers;
  void pump();
  void post();
  void answered(const Result<kube::Response>& answer);
  void wake_at_filter();

  const Clock& clock_;
  kube::Client& client_;
  std::string node_;
  std::string reporter_;
  std::function<void()> changed_;
  std::unique_ptr<Timers> timers_;
  EventFilter filter_;
  std::size_t max_waiting_;
  std::deque<KubeEvent> waiting_;
  bool busy_ = false;
  unsigned attempts_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t dropped_ = 0;
  std::optional<Error> error_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kerf::agent
