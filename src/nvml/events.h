// The event pump: a thread ("nvml-events") that sleeps in the driver until a GPU reports trouble
// and passes the report on. It judges nothing; health/ does. The driver offers no way to interrupt
// a wait, so stopping does not wait for the thread: it notices at its next wake-up, or never if the
// driver keeps it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "nvml/session.h"

namespace kerf::nvml {

// Holds the session that lane and pump work with. Whoever clears it must be on a lane or pump
// thread, because letting go of the last session calls into the driver.
class SessionSlot {
 public:
  std::shared_ptr<const Session> get() const;  // null when there is none
  void set(std::shared_ptr<const Session> session);
  void clear() { set(nullptr); }

  // The library that sessions are opened from.
  LibraryCache& libraries() { return libraries_; }

 private:
  mutable std::mutex mutex_;
  LibraryCache libraries_;
  std::shared_ptr<const Session> session_;
};

// One report of a GPU.
struct Event {
  enum class Type {
    kXid,           // `xid` says which
    kDoubleBitEcc,  // an uncorrectable memory error; an XID usually comes with it
    kUnavailable,   // the GPU says that it can no longer be used
    kReconfigured,  // its MIG devices are being changed
  };
  Type type = Type::kXid;
  std::string uuid;  // the physical GPU; empty when the driver would not say which
  std::uint64_t xid = 0;
  std::optional<unsigned> gpu_instance;  // absent: concerns the whole GPU
  std::optional<unsigned> compute_instance;
};

class EventPump {
 public:
  // Called on the pump's thread. They must not block.
  struct Sink {
    std::function<void(Event)> on_event;
    // Once, when the wait begins: the GPUs that could not be registered and why. kUnsupported means
    // an old GPU without events.
    struct Refusal {
      std::string uuid;
      Error error;
    };
    std::function<void(std::vector<Refusal>)> on_watching;
    // The pump is over because the driver failed it; not called after stop().
    std::function<void(Error)> on_end;
  };

  // Watches these GPUs. `wait` is how long one sleep in the driver may last; `grace` is how much
  // longer than that, or than no time for other calls, is not yet overdue.
  static Result<std::unique_ptr<EventPump>> start(std::shared_ptr<SessionSlot> slot,
                                                  std::vector<std::string> uuids, Sink sink,
                                                  std::chrono::milliseconds wait,
                                                  std::chrono::milliseconds grace);
  ~EventPump() { stop(); }
  EventPump(const EventPump&) = delete;
  EventPump& operator=(const EventPump&) = delete;

  // Asks the thread to end; returns at once. Nothing is reported afterwards.
  void stop();
  // Waits until the thread has let go of the driver. False when `limit` passed first.
  bool wait_ended(std::chrono::milliseconds limit) const;
  // How much longer than allowed the current call into the driver has been going on; 0 when all is
  // well.
  std::chrono::milliseconds overdue() const;

  struct State;

 private:
  explicit EventPump(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace kerf::nvml
