#include "health/watch_loop.h"

#include <algorithm>

#include "base/log.h"
#include "health/device_access.h"
#include "inventory/differ.h"

namespace kerf::health {

using inventory::DriverState;
using inventory::Gpu;
using inventory::GpuFault;

namespace {

bool is_hang(const Error& error) { return error.kind == Kind::kTimeout && error.native == 0; }

// The driver is not there, as opposed to being there and failing.
bool is_absence(const Error& error) {
  return error.kind == Kind::kNotFound || error.native == nvml::abi::kErrorDriverNotLoaded;
}

std::vector<std::string> uuids_of(const std::vector<Gpu>& gpus) {
  std::vector<std::string> uuids;
  uuids.reserve(gpus.size());
  for (const Gpu& gpu : gpus) uuids.push_back(gpu.uuid);
  return uuids;
}

}  // namespace

WatchLoop::WatchLoop(Parts parts)
    : parts_(std::move(parts)),
      tracker_(parts_.options.settings),
      memory_(parts_.options.state_directory, parts_.options.roots) {
  for (const std::string& warning : parts_.options.settings.policy.warnings()) {
    log::warn("health", "health check setting", {{"detail", warning}});
  }
}

void WatchLoop::run() {
  while (!parts_.inbox->stopped()) {
    step();
    handle(parts_.inbox->take(next_wake()));
  }
  if (pump_) pump_->stop();
}

void WatchLoop::step() {
  if (!up_ && Steady::now() >= due_) start_driver();
  if (up_ && want_read_) read_all();
  if (Steady::now() >= conditions_due_) poll_conditions();
  publish();
  if (recalled_) memory_.save(tracker_.remember());
  if (up_) read_links();
  keep_pump();
}

WatchLoop::Steady::time_point WatchLoop::next_wake() const {
  Steady::time_point wake = std::min(due_, conditions_due_);
  if (wants_pump() && (!pump_ || pump_refused_)) wake = std::min(wake, pump_not_before_);
  return wake;
}

inventory::DriverAccess WatchLoop::access(std::chrono::milliseconds limit) const {
  return {parts_.lane, parts_.slot, limit};
}

void WatchLoop::handle(Mail mail) {
  if (mail.stop) return;
  if (mail.events_dropped > 0) {
    parts_.published.update(
        [&](WatcherStats& stats) { stats.events_dropped += mail.events_dropped; });
  }
  if (mail.settings) configure(std::move(*mail.settings));
  on_events(mail.events);
  for (const std::string& uuid : mail.clears) tracker_.clear(uuid);
  if (mail.watching && mail.watching->first == pump_number_) on_watching(mail.watching->second);
  if (mail.pump_ended && mail.pump_ended->first == pump_number_) {
    on_pump_ended(mail.pump_ended->second);
  }
  if (mail.refresh) forget_unlisted();
  if (mail.refresh || mail.lane_returned) {
    want_read_ = true;
    due_ = Steady::now();
  } else if (up_ && Steady::now() >= due_) {
    look();
  }
}

void WatchLoop::forget_unlisted() {
  for (const GpuFault& fault : faults_) {
    if (fault.cause != GpuFault::Cause::kUnlisted) continue;
    std::erase_if(gpus_, [&](const Gpu& gpu) { return gpu.uuid == fault.uuid; });
  }
}

void WatchLoop::look() {
  due_ = Steady::now() + parts_.options.probe;
  check_pump();
  if (!faults_.empty() || driver_.state == DriverState::kStuck) {
    want_read_ = true;
    return;
  }
  auto different = inventory::looks_different(access(parts_.options.call_deadline), listed_);
  if (!different) {
    driver_trouble(different.error());
  } else if (*different) {
    want_read_ = true;
  }
}

void WatchLoop::configure(Settings settings) {
  for (const std::string& warning : settings.policy.warnings()) {
    log::warn("health", "health check setting", {{"detail", warning}});
  }
  tracker_.configure(std::move(settings));
  unsupported_.clear();
  conditions_due_ = Steady::now();
}

void WatchLoop::poll_conditions() {
  const Settings& settings = tracker_.settings();
  conditions_due_ = Steady::now() + std::chrono::milliseconds(settings.poll_ms);
  if (settings.polls() && up_ && driver_.state == DriverState::kReady) {
    auto all =
        read_conditions(access(parts_.options.call_deadline), watchable(), settings, unsupported_);
    if (parts_.inbox->stopped()) return;
    parts_.published.update([](WatcherStats& stats) { ++stats.condition_polls; });
    // A reading finds out who hangs, and what that means.
    if (!all) want_read_ = true;
    if (all) tracker_.on_conditions(*all, now_ms());
  }
  tracker_.on_time(now_ms());
}

void WatchLoop::start_driver() {
  due_ = Steady::now() + parts_.options.retry;
  if (retired_pump_blocks()) {
    due_ = std::min(due_, Steady::now() + std::chrono::milliseconds(100));
    return;
  }
  auto driver = inventory::start_driver(access(parts_.options.init_deadline),
                                        parts_.options.library_candidates, parts_.counters);
  if (!driver) return start_failed(driver.error());
  parts_.published.update([](WatcherStats& stats) { ++stats.driver_starts; });
  bool reloaded = seen_gone_ || driver->version != driver_.version;
  tracker_.on_driver_restarted(reloaded);
  if (reloaded) {
    gpus_.clear();
    links_of_.clear();
  }
  unsupported_.clear();
  conditions_due_ = Steady::now();
  const std::uint64_t starts = driver_.starts + 1;
  driver_ = std::move(*driver);
  driver_.starts = starts;
  log::info("health", "driver started",
            {{"version", driver_.version}, {"library", driver_.library}});
  memory_.driver_started(driver_.version);
  up_ = true;
  was_up_ = true;
  seen_gone_ = false;
  want_read_ = true;
}

void WatchLoop::start_failed(const Error& plain) {
  if (parts_.inbox->stopped()) return;
  const Error error = is_hang(plain) ? plain : explain_access(plain, parts_.options.roots);
  parts_.published.update([](WatcherStats& stats) { ++stats.driver_start_failures; });
  inventory::Driver before = driver_;
  if (!is_hang(error)) {
    seen_gone_ = true;
    driver_.state = was_up_ || !is_absence(error) ? DriverState::kFailed : DriverState::kAbsent;
    driver_.detail = error.text();
  } else if (driver_.state != DriverState::kStuck) {
    driver_.state = DriverState::kStuck;
    driver_.detail = error.text();
  }
  if (driver_.state == DriverState::kStuck) {
    tracker_.on_driver_stuck(driver_.detail, now_ms());
  } else if (was_up_) {
    tracker_.on_driver_failed(driver_.detail, now_ms());
  }
  if (driver_ != before) log::warn("health", "the driver cannot be started", error);
}

void WatchLoop::driver_trouble(const Error& plain) {
  if (parts_.inbox->stopped()) return;
  const Error error = is_hang(plain) ? plain : explain_access(plain, parts_.options.roots);
  due_ = Steady::now() + parts_.options.probe;
  inventory::Driver before = driver_;
  if (is_hang(error)) {
    if (driver_.state != DriverState::kStuck) driver_.detail = error.text();
    driver_.state = DriverState::kStuck;
    tracker_.on_driver_stuck(driver_.detail, now_ms());
  } else {
    driver_.detail = error.text();
    driver_.state = DriverState::kFailed;
    tracker_.on_driver_failed(driver_.detail, now_ms());
    seen_gone_ = seen_gone_ || nvml::is_driver_failure(error.native);
    drop_session();
  }
  if (driver_ != before) log::warn("health", "the driver does not answer", error);
}

void WatchLoop::drop_session() {
  retire_pump();
  up_ = false;
  want_read_ = false;
  static_cast<void>(
      parts_.lane.call("driver", parts_.options.call_deadline, [slot = parts_.slot]() -> Status {
        slot->clear();
        return {};
      }));
  due_ = Steady::now();  // the first new attempt follows at once
}

void WatchLoop::read_all() {
  want_read_ = false;
  due_ = Steady::now() + parts_.options.probe;
  auto how = access(parts_.options.call_deadline);
  auto reading = inventory::read_gpus(how, parts_.options.roots, gpus_);
  if (!reading && !is_hang(reading.error()) && !nvml::is_driver_failure(reading.error().native)) {
    reading = inventory::read_gpus(how, parts_.options.roots, gpus_);
  }
  if (parts_.inbox->stopped()) return;
  if (!reading) return driver_trouble(reading.error());
  take_reading(std::move(*reading));
}

void WatchLoop::take_reading(inventory::Reading reading) {
  parts_.published.update([](WatcherStats& stats) { ++stats.readings; });
  warn_once(reading.warnings);
  tracker_.on_reading(reading, now_ms());
  recall();
  auto stuck = std::count_if(reading.faults.begin(), reading.faults.end(), [](const auto& fault) {
    return fault.cause == GpuFault::Cause::kStuck;
  });
  bool all_stuck = stuck > 0 && static_cast<std::size_t>(stuck) == reading.gpus.size();
  driver_.state = all_stuck ? DriverState::kStuck : DriverState::kReady;
  driver_.detail = all_stuck ? reading.faults.front().detail : "";
  faults_ = std::move(reading.faults);
  listed_ = reading.listed;
  gpus_ = std::move(reading.gpus);
}

// Before the first snapshot is published, so that no broken GPU is offered in between.
void WatchLoop::recall() {
  if (std::exchange(recalled_, true)) return;
  std::optional<Memory> before = memory_.load();
  if (!before) return;
  tracker_.recall(*before, now_ms());
  for (const Memory::Mark& mark : tracker_.remember().marks) {
    log::warn("health", "unhealthy since before this start",
              {{"device", mark.device}, {"detail", mark.detail}});
  }
}

void WatchLoop::read_links() {
  std::vector<std::string> uuids = uuids_of(gpus_);
  if (uuids == links_of_ || !faults_.empty() || driver_.state != DriverState::kReady) return;
  links_.clear();
  links_of_ = uuids;  // a failure is not repeated until the GPUs change
  if (uuids.size() < 2) return;
  auto reading = inventory::read_links(access(parts_.options.call_deadline), gpus_);
  if (!reading) {
    if (!parts_.inbox->stopped()) log::warn("health", "links cannot be read", reading.error());
    return;
  }
  warn_once(reading->warnings);
  links_ = std::move(reading->links);
  publish();
}

void WatchLoop::publish() {
  if (!published_ && driver_.detail.empty() && !up_) return;  // nothing is known yet
  inventory::Snapshot next;
  next.driver = driver_;
  next.gpus = gpus_;
  if (links_of_ == uuids_of(gpus_)) next.links = links_;
  next = tracker_.apply(std::move(next));
  inventory::SnapshotPtr before = parts_.published.snapshot();
  if (published_ && inventory::same_content(next, *before)) return;
  log_changes(*before, next);
  next.generation = before->generation + 1;
  published_ = true;
  auto snapshot = std::make_shared<const inventory::Snapshot>(std::move(next));
  parts_.published.set_snapshot(snapshot);
  parts_.publish(std::move(snapshot));
}

void WatchLoop::log_changes(const inventory::Snapshot& before,
                            const inventory::Snapshot& after) const {
  if (!published_) {
    log::info("health", "GPUs read",
              {{"gpus", after.gpus.size()}, {"driver", inventory::to_string(after.driver.state)}});
    return;
  }
  for (const inventory::Change& change : inventory::diff(before, after)) {
    bool bad = change.what == inventory::Change::What::kUnhealthy;
    if (change.what == inventory::Change::What::kLinks) continue;
    log::write(bad ? log::Level::kWarn : log::Level::kInfo, "health", "inventory changed",
               {{"change", inventory::to_string(change.what)},
                {"subject", change.subject},
                {"detail", change.text}});
  }
}

void WatchLoop::warn_once(const std::vector<std::string>& warnings) {
  constexpr std::size_t kMaxRemembered = 1024;
  if (warned_.size() > kMaxRemembered) warned_.clear();
  for (const std::string& warning : warnings) {
    if (warned_.insert(warning).second) {
      log::warn("health", "while reading the GPUs", {{"detail", warning}});
    }
  }
}

}  // namespace kerf::health
