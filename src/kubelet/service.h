// The kubelet's side of the agent in one object: a plugin for each resource of the current plan,
// their sockets, and their registration. Applying a plan changes only what differs from the one
// before; a kubelet restart, a removed socket or a hung kubelet are dealt with in here. Loop thread
// only, except where said.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "base/result.h"
#include "kubelet/plugin.h"
#include "kubelet/stats.h"
#include "plan/types.h"

namespace asio {
class io_context;
}

namespace kerf::kubelet {

class Service {
 public:
  struct Options {
    std::string kubelet_socket;  // empty: serve without registering
    // Where our own sockets go; empty: the directory of kubelet_socket, or without one the
    // kubelet's documented plugin directory.
    std::string socket_directory;
    mode_t socket_mode = 0600;  // the kubelet is root
    std::chrono::milliseconds register_deadline{5000};
    std::chrono::milliseconds retry_first{100};
    std::chrono::milliseconds retry_longest{5000};
  };

  // Makes the answers for `plan->resources[resource]`; called on the loop, once for each resource
  // of each applied plan. What it returns is used from transport threads.
  using Answering = std::function<Answers(const plan::PlanPtr& plan, std::size_t resource)>;

  struct ResourceStatus {
    std::string name;
    std::string socket;  // path
    bool bound = false;  // the socket is in place and served
    bool registered = false;
    std::int64_t registered_since_ms = 0;  // wall clock; of the last success, 0: never
    std::optional<Error> last_error;       // why it is not bound or not registered
    std::size_t streams = 0;               // kubelets watching; 1 when all is well
    std::size_t devices = 0;
    std::size_t unhealthy = 0;
    std::size_t updates = 0;  // list messages sent since start
  };
  struct ServiceStatus {
    std::string kubelet_socket;
    std::uint64_t generation = 0;           // of the applied plan; 0: none yet
    std::vector<ResourceStatus> resources;  // ordered by name
    // Every resource is bound and, unless registration is off, registered.
    bool ok() const;
  };

  Service(asio::io_context& loop, Options options, Answering answering, Observer observer = {});
  // Stops.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Serves `plan` from now on. Resources that are new are bound and registered, those that are gone
  // are stopped, lists are sent where they differ. Never fails: what cannot be bound or registered
  // is reported by `status` and tried again until it works.
  void apply(const plan::PlanPtr& plan);
  ServiceStatus status() const;
  // Counters of every resource served so far; they live as long as this object.
  std::map<std::string, const Stats*> stats() const;
  // Ends streams, removes our sockets, gives up calls. Takes less than a second. Later calls do
  // nothing.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// "nvidia.com/gpu.shared" -> "nvidia-gpu.shared.sock", the name NVIDIA's plugin uses.
std::string socket_name(const std::string& resource);

}  // namespace kerf::kubelet
