#include "health/tracker.h"

#include <algorithm>
#include <set>

namespace kerf::health {

using inventory::Gpu;
using inventory::GpuFault;
using inventory::MigDevice;
using inventory::Unhealthy;

namespace {

std::string xid_detail(const XidEvent& event, const std::string& device) {
  std::string text = "Xid " + std::to_string(event.xid) + " on " + device;
  if (event.gpu.empty()) text += ", the driver did not say which GPU";
  if (event.xid == 79) text += ": GPU has fallen off the bus";
  if (event.xid == 48) text += ": double bit ECC error";
  if (event.xid == 74) text += ": NVLink error";
  if (event.xid == 94 || event.xid == 95) text += ": memory error";
  return text;
}

bool matches(std::optional<unsigned> wanted, unsigned actual) {
  return !wanted || *wanted == actual;
}

void set_mark(std::optional<Unhealthy>& mark, std::string_view word, std::string_view detail,
              std::int64_t now_ms) {
  if (!mark) mark = Unhealthy{std::string(word), std::string(detail), now_ms};
}

}  // namespace

void Tracker::mark(const std::string& uuid, Reason reason, std::string_view word,
                   std::string_view detail, std::int64_t now_ms) {
  // What was said first stays: it is nearest to the cause, and repetitions are no change.
  marks_[uuid].try_emplace(reason, Unhealthy{std::string(word), std::string(detail), now_ms});
}

void Tracker::unmark(const std::string& uuid, Reason reason) {
  auto found = marks_.find(uuid);
  if (found == marks_.end()) return;
  found->second.erase(reason);
  if (found->second.empty()) marks_.erase(found);
}

void Tracker::on_xid(const XidEvent& event, std::int64_t now_ms) {
  if (policy_.ignores(event.xid)) return;
  if (event.gpu.empty()) {
    for (const auto& [gpu, migs] : known_) mark_xid(gpu, event, now_ms);
  } else if (known_.contains(event.gpu)) {
    mark_xid(event.gpu, event, now_ms);
  }
}

void Tracker::mark_xid(const std::string& gpu, const XidEvent& event, std::int64_t now_ms) {
  bool narrowed = event.gpu_instance.has_value() || event.compute_instance.has_value();
  bool found = false;
  if (narrowed) {
    for (const KnownMig& mig : known_[gpu]) {
      if (!matches(event.gpu_instance, mig.gpu_instance) ||
          !matches(event.compute_instance, mig.compute_instance)) {
        continue;
      }
      found = true;
      mark(mig.uuid, Reason::kXid, "xid", xid_detail(event, mig.uuid), now_ms);
    }
  }
  // An instance that we do not know of is no reason to ignore the error.
  if (!found) mark(gpu, Reason::kXid, "xid", xid_detail(event, gpu), now_ms);
}

void Tracker::answered(const Gpu& gpu) {
  auto found = marks_.find(gpu.uuid);
  if (found == marks_.end()) return;
  if (found->second.contains(Reason::kGpuLost)) {
    // It came back from a reset: what was wrong before is not wrong any more.
    unmark(gpu.uuid, Reason::kXid);
    for (const MigDevice& mig : gpu.mig_devices) unmark(mig.uuid, Reason::kXid);
  }
  unmark(gpu.uuid, Reason::kGpuLost);
  unmark(gpu.uuid, Reason::kNvmlStuck);
  unmark(gpu.uuid, Reason::kQueryFailed);
}

void Tracker::forget_missing(const inventory::Reading& reading) {
  std::set<std::string> present;
  known_.clear();
  for (const Gpu& gpu : reading.gpus) {
    present.insert(gpu.uuid);
    auto& migs = known_[gpu.uuid];
    for (const MigDevice& mig : gpu.mig_devices) {
      present.insert(mig.uuid);
      migs.push_back({mig.uuid, mig.gpu_instance, mig.compute_instance});
    }
  }
  std::erase_if(marks_, [&](const auto& entry) { return !present.contains(entry.first); });
  std::erase_if(unwatched_, [&](const auto& entry) { return !present.contains(entry.first); });
}

void Tracker::on_reading(const inventory::Reading& reading, std::int64_t now_ms) {
  on_driver_answers();
  for (const Gpu& gpu : reading.gpus) {
    auto fault = std::find_if(reading.faults.begin(), reading.faults.end(),
                              [&](const GpuFault& f) { return f.uuid == gpu.uuid; });
    if (fault == reading.faults.end()) {
      answered(gpu);
      continue;
    }
    switch (fault->cause) {
      case GpuFault::Cause::kLost:
      case GpuFault::Cause::kUnlisted:
        mark(gpu.uuid, Reason::kGpuLost, "gpu_lost", fault->detail, now_ms);
        break;
      case GpuFault::Cause::kStuck:
        mark(gpu.uuid, Reason::kNvmlStuck, "nvml_stuck", fault->detail, now_ms);
        break;
      case GpuFault::Cause::kQueryFailed:
        mark(gpu.uuid, Reason::kQueryFailed, "query_failed", fault->detail, now_ms);
        break;
    }
  }
  forget_missing(reading);
}

void Tracker::on_watching(const std::vector<Unwatched>& refused, std::int64_t now_ms) {
  std::map<std::string, Unhealthy> before;
  before.swap(unwatched_);
  for (const Unwatched& one : refused) {
    if (!known_.contains(one.gpu)) continue;
    auto old = before.find(one.gpu);
    unwatched_[one.gpu] = {"query_failed", "its events cannot be watched: " + one.detail,
                           old == before.end() ? now_ms : old->second.since_ms};
  }
}

void Tracker::on_driver_stuck(std::string_view detail, std::int64_t now_ms) {
  set_mark(driver_stuck_, "nvml_stuck", detail, now_ms);
}

void Tracker::on_driver_failed(std::string_view detail, std::int64_t now_ms) {
  driver_stuck_.reset();
  set_mark(driver_failed_, "driver_failed", detail, now_ms);
}

void Tracker::on_driver_restarted(bool reloaded) {
  if (reloaded) {
    marks_.clear();
    unwatched_.clear();
  }
  driver_stuck_.reset();
  driver_failed_.reset();
}

void Tracker::clear(std::string_view uuid) {
  std::vector<std::string> devices;
  if (uuid.empty()) {
    for (const auto& [device, marks] : marks_) devices.push_back(device);
  } else {
    devices.emplace_back(uuid);
    if (auto gpu = known_.find(std::string(uuid)); gpu != known_.end()) {
      for (const KnownMig& mig : gpu->second) devices.push_back(mig.uuid);
    }
  }
  for (const std::string& device : devices) unmark(device, Reason::kXid);
}

std::optional<Unhealthy> Tracker::shown(const std::string& uuid) const {
  if (auto found = marks_.find(uuid); found != marks_.end()) return found->second.begin()->second;
  if (auto found = unwatched_.find(uuid); found != unwatched_.end()) return found->second;
  return std::nullopt;
}

inventory::Snapshot Tracker::apply(inventory::Snapshot snapshot) const {
  const std::optional<Unhealthy>& driver = driver_failed_ ? driver_failed_ : driver_stuck_;
  for (Gpu& gpu : snapshot.gpus) {
    gpu.unhealthy = driver ? driver : shown(gpu.uuid);
    for (MigDevice& mig : gpu.mig_devices) {
      mig.unhealthy = gpu.unhealthy ? gpu.unhealthy : shown(mig.uuid);
    }
  }
  return snapshot;
}

}  // namespace kerf::health
