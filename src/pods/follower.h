// Keeps what is known about the node's pods current: asks the kubelet's PodResources again and
// again, and watches the node's pods in the API server if there is a client. Neither needs the
// other, and without both the answer is simply kAbsent.
//
// Loop thread only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "pods/types.h"

namespace asio {
class io_context;
}
namespace kerf::kube {
class Client;
}

namespace kerf::pods {

struct FollowerOptions {
  std::string socket;                            // of PodResources; empty: never asked
  std::chrono::milliseconds interval{5'000};     // between questions while they are answered
  std::chrono::milliseconds deadline{10'000};    // of one
  std::chrono::milliseconds last_pause{60'000};  // the longest between questions that fail
  std::string node;                              // whose pods are watched
  const Clock* clock = &system_clock();
};

class Follower {
 public:
  // `client` may be null: then labels, annotations and uids stay unknown. It must outlive this.
  // `changed` when current() is another in more than its time, and never from inside a call here.
  Follower(asio::io_context& loop, FollowerOptions options, kube::Client* client,
           std::function<void()> changed);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Never null.
  PodsPtr current() const;
  // Asks now rather than at the next turn, because something has happened (an allocation).
  void refresh();
  // Why the API server does not tell; absent while it does or when there is no client.
  const std::optional<Error>& watch_error() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf::pods
