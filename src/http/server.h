// A small read-only HTTP/1.1 server with server-sent events, on somebody else's event loop. It
// knows sockets, limits and deadlines; what is answered is a function from Request to Response. It
// has no thread and no timer of its own while nobody is connected.
//
// It stands where libmicrohttpd would: Debian's static archive of that needs GnuTLS and all below
// it (its main object file calls it), for a protocol that is not spoken here.
//
// Everything here is called on the thread that runs the io_context, or before it runs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http/request.h"

namespace asio {
class io_context;
}

namespace kerf::http {

class Tls;

// What a live-update stream sends. `make` gives one whole event in the text/event-stream format,
// ending in a blank line; it is called on the loop's thread, once for all streams of this source.
struct EventSource {
  std::function<std::string()> make;
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;  // left out for HEAD, which still gets its length
  std::vector<std::pair<std::string, std::string>> headers;  // further ones
  // When set, the body is ignored and the connection becomes a stream of this source's events: one
  // at once, then one after each `publish`, as far apart as the limits say.
  std::shared_ptr<EventSource> events;
};

// Must not block. An exception from it becomes a 500.
using Handler = std::function<Response(const Request&)>;

struct Limits {
  std::size_t connections = 64;     // one more, and the one that has waited longest is closed
  std::size_t streams = 32;         // one more, and it is answered 503
  std::size_t buffered = 8u << 20;  // bytes of responses under way; above, 503
  std::chrono::milliseconds head{10'000};   // from the first byte (or connect) to the whole head
  std::chrono::milliseconds idle{60'000};   // between two requests of one connection
  std::chrono::milliseconds write{30'000};  // for a client to take a whole response
  std::chrono::milliseconds heartbeat{15'000};  // on quiet streams, so that proxies keep them open
  std::chrono::milliseconds gap{250};           // at least so long between two events of a stream
};

struct ServerStats {
  std::map<int, std::uint64_t> responses;  // by status code
  std::uint64_t evicted = 0;               // connections closed early to make room
  std::size_t connections = 0;             // open now
  std::size_t streams = 0;                 // of them, streams
};

class Server {
 public:
  // Listens on `address` ("host:port", "[v6]:port", ":port" for all addresses of both families;
  // port 0 chooses a free one) and serves from then on while `loop` runs. `loop` must outlive it.
  // Errors: kInvalid for a malformed address, kBusy when it is taken, kNotFound for an unknown host
  // or an address this machine does not have, kDenied. With `tls` (tls.h) nothing else is spoken.
  static Result<std::unique_ptr<Server>> listen(asio::io_context& loop, const std::string& address,
                                                Handler handler, Limits limits = {},
                                                std::shared_ptr<Tls> tls = nullptr);
  // Closes everything at once.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The address it really listens on, with the port chosen: "[::]:2112".
  std::string address() const;
  std::uint16_t port() const;

  // What the streams show has changed. Cheap when there are none, and as often as one likes: events
  // are sent `Limits::gap` apart and always show the newest state.
  void publish();

  // Closes the listening socket and all connections; afterwards nothing keeps the loop running.
  void stop();

  ServerStats stats() const;

 private:
  class Core;
  explicit Server(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

// Splits "host:port"; host is empty for all addresses. The error says what the forms are.
struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
};
Result<HostPort> parse_host_port(const std::string& address);

// "Not Found" for 404.
std::string_view status_phrase(int status);

}  // namespace kerf::http
