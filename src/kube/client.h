// A client of the Kubernetes API server: HTTPS on the event loop, HTTP/1.1, one request after the
// other on a connection that is kept while it is used, and a connection of its own for each watch.
// Knows verbs and paths, not kinds of objects: bodies are JSON text. Nothing here blocks, except
// that small files (token, CA) are read; TLS is first touched by the first request.
//
// Everything is called, and calls back, on the loop's thread; no callback comes from inside the
// call that asked for it. Source of the protocol: Kubernetes API concepts
// (kubernetes.io/docs/reference/using-api/api-concepts).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kube/access.h"

namespace asio {
class io_context;
}

namespace kerf::kube {

enum class Verb {
  kGet,
  kPost,            // create
  kPut,             // replace
  kMergePatch,      // application/merge-patch+json
  kStrategicPatch,  // application/strategic-merge-patch+json: lists merge by key (conditions: type)
};
// "GET", "POST", "PUT", "PATCH"
std::string_view to_string(Verb verb);

struct Request {
  Verb verb = Verb::kGet;
  std::string path;  // "/api/v1/nodes/worker-1/status?fieldManager=kerf"; escape() what is foreign
  std::string body;  // JSON; empty for kGet
  std::chrono::milliseconds deadline{15'000};  // from the call to the answer, retries included
};

// A part of a path or query as it may be written into a Request's path: all but letters, digits and
// "-._~" as %XX.
std::string escape(std::string_view text);

struct Response {
  int status = 0;    // 200 to 299
  std::string body;  // JSON
};

// What went wrong, for Error::kind; Error::native is the HTTP status where there was one:
//   kDenied       401 (after the token was read anew and tried once more), 403: the hint names the
//                 verb and resource that RBAC must allow
//   kNotFound     404          kConflict     409: read it anew and try again
//   kGone         410; or the connection was refused, reset or ended before the answer was complete
//   kInvalid      400, 422 and other 4xx; certificates or token that cannot be read
//   kBusy         429, 503 and 504 until the deadline (Retry-After is followed); or our queue is
//   full kTimeout      the deadline has passed kCorrupt      what came is not HTTP, or larger than
//   `response_limit` kUnsupported  redirects, which are never followed kInternal     other 5xx
// A server whose certificate is not signed by Access::ca, is expired, or is for another name gives
// kDenied, native 0. `what` begins with verb and path, `subject` is the server; the token is in
// neither.
using Answer = std::function<void(Result<Response>)>;

struct ClientOptions {
  std::size_t queue_limit = 64;                    // requests waiting; one more is answered kBusy
  std::size_t response_limit = 8 << 20;            // bytes of a body, or of one event of a watch
  double requests_per_second = 5;                  // on average; 0: no limit
  unsigned burst = 10;                             // at once
  std::chrono::milliseconds idle{10'000};          // an unused connection is closed after this
  std::chrono::milliseconds token_age{60'000};     // a token file is read anew after this
  std::chrono::milliseconds backoff_first{500};    // of watches: doubled each time, up to the last;
  std::chrono::milliseconds backoff_last{30'000};  // each pause is 50 to 100 % of that, by chance
  std::chrono::seconds watch_length{300};          // the server is asked to end a watch after this
  std::string user_agent = "kerf";
};

enum class Change { kAdded, kModified, kDeleted };

// What a watch tells. All may be empty.
struct WatchHandlers {
  // Everything that matches, as JSON texts: first of all, and whenever events may have been missed.
  // What was known before and is not among `objects` is gone.
  std::function<void(std::span<const std::string> objects)> listed;
  // One object changed.
  std::function<void(Change change, std::string_view object)> changed;
  // The watch does not work, and why (again for each attempt; it goes on trying); nullptr once it
  // works again. Not called while all is well, and not for the ordinary end of a watch.
  std::function<void(const Error* error)> trouble;
};

// Ends when destroyed. Must not be destroyed inside one of its own handlers; use asio::post.
class Watch {
 public:
  virtual ~Watch() = default;
};

class Client {
 public:
  Client(asio::io_context& loop, Access access, ClientOptions options = {});
  // Drops what is under way; nothing is called back any more. Watches may outlive the client.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Requests are sent in the order given. `done` is called exactly once unless the client is
  // destroyed before; it may call request() again or destroy the client.
  void request(Request request, Answer done);

  // Lists and then watches a collection, as long as the result lives: `path` is that of the
  // collection ("/api/v1/nodes"), `selector` a query without '?', escaped
  // ("fieldSelector=metadata.name%3Dworker-1"), or empty. Resumes where it was after a lost
  // connection, lists anew when the server no longer knows where that is (410).
  std::unique_ptr<Watch> watch(std::string path, std::string selector, WatchHandlers handlers);

  const Access& access() const;

  struct Core;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace kerf::kube
