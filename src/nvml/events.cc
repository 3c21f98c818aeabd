#include "nvml/events.h"

#include <atomic>
#include <condition_variable>
#include <map>

#include "nvml/thread.h"

namespace kerf::nvml {

namespace {

using Steady = std::chrono::steady_clock;

// Corrected errors are left out: they wake the node up and change nothing.
constexpr std::uint64_t kWanted =
    abi::kEventXid | abi::kEventDoubleBitEcc | abi::kEventGpuUnavailable | abi::kEventMigConfig;

std::optional<unsigned> instance(std::uint32_t id) {
  return id == abi::kNoInstance ? std::nullopt : std::optional<unsigned>(id);
}

}  // namespace

std::shared_ptr<const Session> SessionSlot::get() const {
  std::lock_guard lock(mutex_);
  return session_;
}

void SessionSlot::set(std::shared_ptr<const Session> session) {
  // The old session ends outside the lock: its shutdown may hang.
  {
    std::lock_guard lock(mutex_);
    session_.swap(session);
  }
}

// Owned by the pump and its thread together.
struct EventPump::State {
  std::shared_ptr<SessionSlot> slot;
  std::vector<std::string> uuids;
  Sink sink;
  std::chrono::milliseconds wait{0};
  std::chrono::milliseconds grace{0};

  std::atomic<bool> stopping{false};
  std::atomic<Steady::rep> call_due{0};  // when the current call ought to be back; 0 between calls
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  bool ended = false;

  void run();
  void watch(const Session& session);
  std::vector<Sink::Refusal> register_all(const Session& session, abi::EventSet set,
                                          std::map<abi::Device, std::string>& names);
  Status register_one(const Session& session, abi::EventSet set, const std::string& uuid,
                      std::map<abi::Device, std::string>& names);
  void deliver(const Session& session, const RawEvent& raw,
               const std::map<abi::Device, std::string>& names);
  void end_with(Error error) {
    if (!stopping) sink.on_end(std::move(error));
  }
  void begin_call(std::chrono::milliseconds allowed) {
    call_due = (Steady::now() + allowed + grace).time_since_epoch().count();
  }
};

Status EventPump::State::register_one(const Session& session, abi::EventSet set,
                                      const std::string& uuid,
                                      std::map<abi::Device, std::string>& names) {
  auto device = session.gpu_by_uuid(uuid);
  if (!device) return fail(std::move(device.error()));
  auto supported = session.supported_events(*device);
  if (!supported) return fail(std::move(supported.error()));
  if (Status registered = session.register_events(*device, *supported & kWanted, set);
      !registered) {
    return registered;
  }
  names[*device] = uuid;
  return {};
}

std::vector<EventPump::Sink::Refusal> EventPump::State::register_all(
    const Session& session, abi::EventSet set, std::map<abi::Device, std::string>& names) {
  std::vector<Sink::Refusal> refusals;
  for (const std::string& uuid : uuids) {
    if (stopping) break;
    if (Status done = register_one(session, set, uuid, names); !done) {
      refusals.push_back({uuid, std::move(done.error())});
    }
  }
  return refusals;
}

void EventPump::State::deliver(const Session& session, const RawEvent& raw,
                               const std::map<abi::Device, std::string>& names) {
  Event event;
  switch (raw.type) {
    case abi::kEventXid:
      event.type = Event::Type::kXid;
      break;
    case abi::kEventDoubleBitEcc:
      event.type = Event::Type::kDoubleBitEcc;
      break;
    case abi::kEventGpuUnavailable:
      event.type = Event::Type::kUnavailable;
      break;
    case abi::kEventMigConfig:
      event.type = Event::Type::kReconfigured;
      break;
    default:
      return;
  }
  if (auto known = names.find(raw.device); known != names.end()) {
    event.uuid = known->second;
  } else if (auto uuid = session.uuid(raw.device)) {
    event.uuid = *uuid;
  }
  event.xid = raw.data;
  event.gpu_instance = instance(raw.gpu_instance);
  event.compute_instance = instance(raw.compute_instance);
  if (!stopping) sink.on_event(std::move(event));
}

void EventPump::State::watch(const Session& session) {
  begin_call(std::chrono::milliseconds(0));
  auto set = session.create_event_set();
  if (!set) return end_with(std::move(set.error()));
  std::map<abi::Device, std::string> names;
  auto refusals = register_all(session, *set, names);
  if (!stopping) sink.on_watching(std::move(refusals));
  while (!stopping && !names.empty()) {
    begin_call(wait);
    auto raw = session.wait_for_event(*set, static_cast<unsigned>(wait.count()));
    if (raw) {
      deliver(session, *raw, names);
    } else if (raw.error().kind != Kind::kTimeout) {
      end_with(std::move(raw.error()));
      break;
    }
  }
  begin_call(std::chrono::milliseconds(0));
  static_cast<void>(session.free_event_set(*set));
}

void EventPump::State::run() {
  if (auto session = slot->get()) {
    watch(*session);
    begin_call(std::chrono::milliseconds(0));
  } else {
    end_with(Error{Kind::kGone, "the driver is not initialised", "", "", 0});
  }
  call_due = 0;
  std::lock_guard lock(mutex);
  ended = true;
  changed.notify_all();
}

Result<std::unique_ptr<EventPump>> EventPump::start(std::shared_ptr<SessionSlot> slot,
                                                    std::vector<std::string> uuids, Sink sink,
                                                    std::chrono::milliseconds wait,
                                                    std::chrono::milliseconds grace) {
  auto state = std::make_shared<State>();
  state->slot = std::move(slot);
  state->uuids = std::move(uuids);
  state->sink = std::move(sink);
  state->wait = wait;
  state->grace = grace;
  if (Status started = start_detached("nvml-events", [state] { state->run(); }); !started) {
    return fail(std::move(started.error()));
  }
  return std::unique_ptr<EventPump>(new EventPump(std::move(state)));
}

void EventPump::stop() { state_->stopping = true; }

bool EventPump::wait_ended(std::chrono::milliseconds limit) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, limit, [&] { return state_->ended; });
}

std::chrono::milliseconds EventPump::overdue() const {
  Steady::rep due = state_->call_due;
  if (due == 0) return std::chrono::milliseconds(0);
  auto late = Steady::now() - Steady::time_point(Steady::duration(due));
  return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(late),
                  std::chrono::milliseconds(0));
}

}  // namespace kerf::nvml
