// gRPC reduced to what a device plugin needs, in bytes: serve unary methods and "watch" methods (a
// server stream of which only the latest state matters), and call one unary method of the kubelet.
// What the bytes mean is codec.h's business. Sockets are opened, and connections accepted, by
// listener.h and handed over, so that mode bits, peer credentials and re-binding are ours. No gRPC
// type crosses this header: another HTTP/2 stack could take its place.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "base/files.h"
#include "base/result.h"

#include <tl/expected.hpp>

namespace kerf::kubelet {

// Bytes that several streams send without copying them.
using SharedBytes = std::shared_ptr<const std::string>;

// gRPC status codes that plugins use (public gRPC specification, "Status codes").
enum class Code { kUnknown = 2, kInvalidArgument = 3, kUnimplemented = 12, kInternal = 13 };

// What the caller is told instead of an answer. `message` is sent as it is.
struct Failure {
  Code code = Code::kUnknown;
  std::string message;
};

// Who sits at the other end of a connection (SO_PEERCRED); all 0/-1 when the system did not say.
struct Peer {
  pid_t pid = 0;
  uid_t uid = static_cast<uid_t>(-1);
};

// One call in progress. Valid during the handler.
class Caller {
 public:
  // Looked up on demand, because most handlers do not ask.
  virtual Peer peer() const = 0;
  // Runs `done` on the same thread once the answer is on its way, so that bookkeeping does not
  // add to the latency. At most one.
  virtual void after(std::function<void()> done) = 0;

 protected:
  ~Caller() = default;
};

// Answers one call. Runs on one of the transport's few threads, several at once: must not block.
// The request's bytes are valid during the call.
using Unary =
    std::function<tl::expected<std::string, Failure>(Caller& caller, std::string_view request)>;

// A server without an address: connections come in through `adopt`. All functions from any thread,
// except that `stop` and the destructor must not run inside a handler.
class Server {
 public:
  struct Method {
    std::string path;  // "/v1beta1.DevicePlugin/Allocate"
    Unary handler;     // empty: a watch, see publish
  };
  struct Watchers {
    std::size_t open = 0;     // streams open now
    std::size_t opened = 0;   // streams ever opened
    std::size_t updates = 0;  // messages handed to streams
  };

  // `streams_changed` is called, on a transport thread, whenever a watch stream opened or closed.
  static Result<std::unique_ptr<Server>> start(std::vector<Method> methods,
                                               const std::function<void()>& streams_changed = {});
  virtual ~Server() = default;

  // Serves a connected stream socket until either side ends it. Takes ownership.
  virtual void adopt(Fd connection) = 0;
  // Sets what watch `path` shows: every stream gets it, new ones as their first message. A stream
  // whose reader is slow skips what was replaced before it could be sent; at most one message is
  // on its way and none are queued. Ignored for unknown paths.
  virtual void publish(std::string_view path, SharedBytes state) = 0;
  virtual Watchers watchers() const = 0;
  // Ends streams in good order and cancels what is left after `grace`. Later calls do nothing.
  virtual void stop(std::chrono::milliseconds grace) = 0;
};

// Starts the transport's threads, which takes milliseconds, so that the first Server and the first
// call find them running; they run until the process ends. Started on first use otherwise. Without
// this they would end with the last server, and starting again while connections of before are
// torn down is something gRPC 1.51 does not reliably survive.
void warm_up();

// A call on its way. Destroying it does not end the call; cancel does.
class Call {
 public:
  virtual ~Call() = default;
  virtual void cancel() = 0;
};

// Calls a unary method of the server that listens on unix socket `socket_path`. Returns at once;
// `done` runs exactly once, on a transport thread or, when the connection fails, before the
// function returns. Errors: kNotFound (no such socket), kDenied, kGone (nobody listens, or the peer
// hung up or talked something else), kTimeout (no answer within `deadline`), kBusy (backlog full),
// kUnsupported (the peer refused; its text is in `what`).
std::shared_ptr<Call> call(const std::string& socket_path, const std::string& method,
                           std::string request, std::chrono::milliseconds deadline,
                           std::function<void(Result<std::string>)> done);

}  // namespace kerf::kubelet
