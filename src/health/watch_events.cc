// The watch loop's dealings with the event pump: which GPUs are watched, what their events mean,
// and what happens when the watch ends or hangs.
#include <algorithm>

#include "base/log.h"
#include "health/watch_loop.h"

namespace kerf::health {

using inventory::DriverState;
using inventory::Gpu;
using inventory::GpuFault;
using nvml::Event;
using nvml::EventPump;

namespace {

constexpr std::chrono::milliseconds kMinPumpPause{1'000};
constexpr std::chrono::milliseconds kMaxPumpPause{30'000};

}  // namespace

void WatchLoop::on_watching(const std::vector<EventPump::Sink::Refusal>& refusals) {
  std::vector<Tracker::Unwatched> refused;
  for (const auto& refusal : refusals) {
    if (refusal.error.kind == Kind::kUnsupported) {
      warn_once({refusal.uuid + " reports no events; its XIDs go unseen"});
    } else {
      refused.push_back({refusal.uuid, refusal.error.text()});
    }
  }
  pump_refused_ = !refused.empty();
  if (pump_refused_) {
    refusal_pause_ = std::clamp(refusal_pause_ * 2, kMinPumpPause, kMaxPumpPause);
    pump_not_before_ = Steady::now() + refusal_pause_;
  } else {
    refusal_pause_ = std::chrono::milliseconds(0);
  }
  tracker_.on_watching(refused, now_ms());
  auto watched = static_cast<unsigned>(pump_uuids_.size() - refusals.size());
  parts_.published.update([&](WatcherStats& stats) { stats.watched = watched; });
}

// The driver ended the watch: a GPU was lost, or more. A reading tells which; the watch goes on
// without those GPUs, later and later if it keeps ending.
void WatchLoop::on_pump_ended(const Error& error) {
  log::debug("health", "the event watch ended", {{"err", error.text()}});
  bool lasted = Steady::now() - pump_started_ > kMaxPumpPause;
  if (lasted || pump_ends_ == 0) {
    pump_pause_ = std::chrono::milliseconds(0);  // an event in between would be missed
  } else {
    pump_pause_ = std::clamp(pump_pause_ * 2, kMinPumpPause, kMaxPumpPause);
  }
  pump_ends_ = lasted ? 1 : pump_ends_ + 1;
  pump_not_before_ = Steady::now() + pump_pause_;
  retire_pump();
  want_read_ = true;
}

void WatchLoop::on_events(const std::vector<Event>& events) {
  for (const Event& event : events) {
    parts_.published.update([](WatcherStats& stats) { ++stats.events; });
    switch (event.type) {
      case Event::Type::kXid:
        count_xid(event);
        tracker_.on_xid({event.uuid, event.xid, event.gpu_instance, event.compute_instance},
                        now_ms());
        // These leave a GPU that no longer answers, or not as before.
        if (event.xid == 79) want_read_ = true;
        break;
      case Event::Type::kUnavailable:
      case Event::Type::kReconfigured:
        want_read_ = true;
        break;
      case Event::Type::kDoubleBitEcc:
        log::warn("health", "uncorrectable memory error", {{"gpu", event.uuid}});
        tracker_.on_double_bit(event.uuid, now_ms());
        break;
    }
  }
}

void WatchLoop::count_xid(const Event& event) {
  constexpr std::size_t kMaxRows = 1024;
  bool ignored = tracker_.policy().ignores(event.xid);
  std::int64_t now = now_ms();
  bool first = false;
  parts_.published.update([&](WatcherStats& stats) {
    auto row = std::find_if(stats.xids.begin(), stats.xids.end(), [&](const XidCount& count) {
      return count.gpu == event.uuid && count.xid == event.xid;
    });
    if (row == stats.xids.end()) {
      if (stats.xids.size() >= kMaxRows) return;
      row = stats.xids.insert(row, {event.uuid, event.xid, 0, 0, ignored});
      first = true;
    }
    ++row->count;
    row->last_ms = now;
  });
  // A GPU that repeats itself is counted; its first word is logged.
  if (!first) return;
  log::write(ignored ? log::Level::kInfo : log::Level::kWarn, "health", "the driver reports an XID",
             {{"gpu", event.uuid}, {"xid", event.xid}, {"ignored", ignored}});
}

// GPUs in trouble are not watched: asking the driver for them could hang or end the watch.
std::vector<std::string> WatchLoop::watchable() const {
  std::vector<std::string> uuids;
  for (const Gpu& gpu : gpus_) {
    bool faulty = std::any_of(faults_.begin(), faults_.end(),
                              [&](const GpuFault& fault) { return fault.uuid == gpu.uuid; });
    if (!faulty) uuids.push_back(gpu.uuid);
  }
  return uuids;
}

bool WatchLoop::wants_pump() const {
  return up_ && tracker_.policy().watches() && driver_.state == DriverState::kReady &&
         !watchable().empty();
}

void WatchLoop::keep_pump() {
  if (!wants_pump()) return;
  std::vector<std::string> uuids = watchable();
  bool due = Steady::now() >= pump_not_before_;
  if (pump_ && uuids == pump_uuids_ && !(pump_refused_ && due)) return;
  if (!pump_ && !due) return;
  retire_pump();
  start_pump(std::move(uuids));
}

// A driver that does not come back from a wait, long after its time, is waited for by one more
// thread and not by any number.
void WatchLoop::check_pump() {
  std::chrono::milliseconds late = pump_ ? pump_->overdue() : std::chrono::milliseconds(0);
  if (retired_) late = std::max(late, retired_->overdue());
  parts_.published.update([&](WatcherStats& stats) {
    stats.events_overdue_seconds = std::chrono::duration<double>(late).count();
  });
  if (!pump_ || pump_->overdue() == std::chrono::milliseconds(0)) return;
  if (retired_ && !retired_->wait_ended(std::chrono::milliseconds(0))) return;
  log::warn("health", "the driver does not return from waiting for events");
  retire_pump();
}

void WatchLoop::start_pump(std::vector<std::string> uuids) {
  std::uint64_t number = ++pump_number_;
  pump_uuids_ = uuids;
  pump_started_ = Steady::now();
  pump_refused_ = false;
  EventPump::Sink sink;
  sink.on_event = [inbox = parts_.inbox](Event event) { inbox->put_event(std::move(event)); };
  sink.on_watching = [inbox = parts_.inbox, number](auto refusals) {
    inbox->put([&](Mail& mail) { mail.watching.emplace(number, std::move(refusals)); });
  };
  sink.on_end = [inbox = parts_.inbox, number](Error error) {
    inbox->put([&](Mail& mail) { mail.pump_ended.emplace(number, std::move(error)); });
  };
  auto pump = EventPump::start(parts_.slot, std::move(uuids), std::move(sink),
                               parts_.options.event_wait, parts_.options.event_grace);
  if (pump) {
    pump_ = std::move(*pump);
  } else {
    pump_not_before_ = Steady::now() + kMaxPumpPause;
    log::error("health", "events are not watched", pump.error());
  }
}

void WatchLoop::retire_pump() {
  if (!pump_) return;
  parts_.published.update([](WatcherStats& stats) { stats.watched = 0; });
  pump_->stop();
  retired_ = std::move(pump_);
  retired_until_ = Steady::now() + parts_.options.event_wait + std::chrono::seconds(1);
}

// A new session must not be opened on top of the old one, which the old pump holds until it wakes
// up: the library counts initialisations and would not look at the driver again.
bool WatchLoop::retired_pump_blocks() {
  if (!retired_) return false;
  if (!retired_->wait_ended(std::chrono::milliseconds(0)) && Steady::now() < retired_until_) {
    return true;
  }
  retired_.reset();
  return false;
}

}  // namespace kerf::health
