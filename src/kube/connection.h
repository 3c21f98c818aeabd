// One TLS connection to the API server: opened, written to, read from all the time. Knows nothing
// of HTTP. Only the CA of `Access` is trusted, and the certificate must be for the host. Internal
// to the room; loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kube/access.h"

namespace asio {
class io_context;
}

namespace kerf::kube {

class Connection {
 public:
  struct Hooks {
    std::function<void()> opened;                      // may be written to
    std::function<void(std::string_view bytes)> data;  // something came
    // Once, at the end, whoever caused it; not after close(). kGone with `native` 0 and an empty
    // `what`: the other side has closed in order.
    std::function<void(Error error)> closed;
  };

  // Reads CA and client certificate and begins to connect. The hooks are never called from inside
  // open(), send() or close().
  static std::shared_ptr<Connection> open(asio::io_context& loop, const Access& access,
                                          Hooks hooks);
  virtual ~Connection() = default;
  // After opened() only; one call at a time is enough, the next waits for it.
  virtual void send(std::string bytes) = 0;
  // No hook is called any more.
  virtual void close() = 0;
};

}  // namespace kerf::kube
