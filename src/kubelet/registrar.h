// Keeps resources registered with the kubelet: at start, whenever the kubelet's socket is made anew
// (a kubelet restart), and again after failures. Loop thread only; calls never block it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kubelet/stats.h"

namespace asio {
class io_context;
}

namespace kerf::kubelet {

class Registrar {
 public:
  // What the log says of a resource besides its name.
  struct Words {
    std::string_view sharing;  // "time-slicing"; of static lifetime
    std::size_t replicas = 0;
  };

  struct Options {
    std::string kubelet_socket;                     // empty: never register
    std::chrono::milliseconds deadline{5000};       // for one Register call
    std::chrono::milliseconds retry_first{100};     // pause after a failure, doubled each time …
    std::chrono::milliseconds retry_longest{5000};  // … up to this
    std::function<Words(const std::string& resource)> words;  // may be empty
  };

  struct State {
    bool registered = false;    // the kubelet accepted us and its socket is still the same
    std::int64_t since_ms = 0;  // wall clock, when it was accepted; 0: never
    std::uint64_t attempts = 0;
    std::optional<Error> last_error;  // of the last attempt, none after a success
  };

  // Where attempts for a resource are counted.
  using StatsOf = std::function<Stats&(const std::string& resource)>;

  // `changed(resource)` is called when a State changed.
  Registrar(asio::io_context& loop, Options options, StatsOf stats_of,
            std::function<void(const std::string& resource)> changed);
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  // Registers `resource`, served on socket file `endpoint` (a name, not a path) beside the
  // kubelet's socket, and keeps it registered. Once more for a resource that is there: registers
  // again.
  void add(const std::string& resource, const std::string& endpoint);
  // The API knows no unregistering: the kubelet notices that the streams end.
  void remove(const std::string& resource);
  // nullptr when unknown.
  const State* find(const std::string& resource) const;
  // Gives up calls in flight; nothing happens afterwards.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf::kubelet
