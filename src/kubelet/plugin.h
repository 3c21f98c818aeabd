// One device plugin: serves v1beta1.DevicePlugin for one resource on a socket of its own. What it
// advertises and how it answers is exchanged as a whole when the plan changes; calls in progress
// finish with what they began with.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "base/result.h"
#include "edits/types.h"
#include "kubelet/stats.h"
#include "plan/types.h"

namespace asio {
class io_context;
}

namespace kerf::kubelet {

// How the requests for one resource are answered. Called on transport threads, several at once:
// must not block and must not change anything. An Error goes to the kubelet as gRPC status UNKNOWN
// with `Error::text()` as its message, word for word.
struct Answers {
  // For one container; ids as the kubelet sent them.
  std::function<Result<edits::Edits>(std::span<const std::string_view> ids)> allocate;
  // For one container; the views returned must live as long as the Answers or the request.
  std::function<Result<std::vector<std::string_view>>(
      std::span<const std::string_view> available, std::span<const std::string_view> must_include,
      std::int32_t size)>
      preferred;
};

// What was asked and answered, for the status page and the ledger of use. Called on the loop's
// thread, calls gathered for some 20 ms; any of them may be empty. Under a load that the loop
// cannot follow allocations are left out (Stats counts them all).
struct Observer {
  struct Allocation {
    std::string_view resource;
    // Of all containers of the request, in order; valid during the call.
    std::span<const std::string_view> ids;
    pid_t peer_pid = 0;            // 0: unknown
    const Error* error = nullptr;  // null: success
  };
  std::function<void(const Allocation&)> allocated;
  // GetPreferredAllocation told which ids are free; only the latest such list of a resource.
  std::function<void(std::string_view resource, std::span<const std::string_view> available)>
      available;
  // The state of `resource` changed (registration, streams, socket).
  std::function<void(const std::string& resource)> changed;
};

class Events;

// Loop thread only, but for what the transport calls.
class Plugin {
 public:
  struct Options {
    std::string resource;     // "nvidia.com/gpu"
    std::string socket_path;  // ".../nvidia-gpu.sock"
    mode_t socket_mode = 0600;
    Stats* stats = nullptr;                 // outlives the plugin
    Events* events = nullptr;               // outlives the plugin; null: nobody listens
    std::function<void()> streams_changed;  // on a transport thread
  };

  // Starts to serve; the socket is bound by `bind`. Errors: kInternal.
  static Result<std::unique_ptr<Plugin>> start(asio::io_context& loop, Options options);
  virtual ~Plugin() = default;

  // From now on: this list, in this order, and these answers. Streams are told only if the list
  // differs from the one before. True when it does.
  virtual bool offer(std::span<const plan::Device> devices, Answers answers) = 0;
  // Binds the socket if it is not in place. True when it was bound by this call. Errors as
  // Listener::open.
  virtual Result<bool> bind() = 0;
  virtual bool bound() const = 0;
  virtual std::size_t streams() const = 0;
  virtual std::size_t streams_ever() const = 0;
  virtual std::size_t updates() const = 0;
  // Removes the socket and ends the streams; what is left is cancelled after `grace`.
  virtual void stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace kerf::kubelet
