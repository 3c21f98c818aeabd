#include "health/tracker.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace kerf::health {

using inventory::Gpu;
using inventory::GpuFault;
using inventory::MigDevice;
using inventory::Unhealthy;

namespace {

// XIDs that tell of an uncorrectable memory error, which the driver counts as well.
constexpr std::uint64_t kMemoryXids[] = {48, 63, 64, 94, 95, 140};

std::string xid_detail(const XidEvent& event, const std::string& device, XidAction action) {
  std::string text = "Xid " + std::to_string(event.xid) + " on " + device;
  if (event.gpu.empty()) text += ", the driver did not say which GPU";
  if (event.xid == 79) text += ": GPU has fallen off the bus";
  if (event.xid == 48) text += ": double bit ECC error";
  if (event.xid == 74) text += ": NVLink error";
  if (event.xid == 94 || event.xid == 95) text += ": memory error";
  if (action == XidAction::kDrain) text += "; drain: move its pods to other GPUs, then reset it";
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

Tracker::Mark& Tracker::mark(const std::string& uuid, Reason reason, std::string_view word,
                             std::string_view detail, std::int64_t now_ms) {
  // What was said first stays: it is nearest to the cause, and repetitions are no change.
  auto [entry, is_new] = marks_[uuid].try_emplace(reason);
  Mark& mark = entry->second;
  if (is_new) {
    mark.shown = {std::string(word), std::string(detail), now_ms};
    mark.quiet_ms = quiet_time(uuid, now_ms);
  }
  mark.last_ms = now_ms;
  return mark;
}

void Tracker::unmark(const std::string& uuid, Reason reason) {
  auto found = marks_.find(uuid);
  if (found == marks_.end()) return;
  found->second.erase(reason);
  if (found->second.empty()) marks_.erase(found);
}

bool Tracker::has_mark(const std::string& uuid, Reason reason) const {
  auto found = marks_.find(uuid);
  return found != marks_.end() && found->second.contains(reason);
}

std::vector<std::string> Tracker::with_migs(const std::string& gpu) const {
  std::vector<std::string> devices = {gpu};
  if (auto found = known_.find(gpu); found != known_.end()) {
    for (const KnownMig& mig : found->second.migs) devices.push_back(mig.uuid);
  }
  return devices;
}

void Tracker::on_xid(const XidEvent& event, std::int64_t now_ms) {
  bool memory =
      std::find(std::begin(kMemoryXids), std::end(kMemoryXids), event.xid) != std::end(kMemoryXids);
  for (const auto& [gpu, known] : known_) {
    if (!event.gpu.empty() && event.gpu != gpu) continue;
    if (memory) {
      memory_xids_[gpu] = now_ms;
      // The count was seen before the XID that says what to make of it.
      auto marked = marks_.find(gpu);
      if (marked != marks_.end() && marked->second.contains(Reason::kEcc) &&
          is_told_by_xid(gpu, marked->second.at(Reason::kEcc).shown.since_ms)) {
        unmark(gpu, Reason::kEcc);
      }
    }
    if (!settings_.policy.ignores(event.xid)) mark_xid(gpu, event, now_ms);
  }
}

void Tracker::mark_xid(const std::string& gpu, const XidEvent& event, std::int64_t now_ms) {
  bool narrowed = event.gpu_instance.has_value() || event.compute_instance.has_value();
  XidAction action = settings_.policy.action(event.xid);
  Reason reason = action == XidAction::kUnhealthy ? Reason::kXid : Reason::kXidReset;
  auto put = [&](const std::string& device) {
    Mark& made = mark(device, reason, "xid", xid_detail(event, device, action), now_ms);
    if (made.xid == 0) made.xid = event.xid;
  };
  bool found = false;
  if (narrowed) {
    for (const KnownMig& mig : known_[gpu].migs) {
      if (!matches(event.gpu_instance, mig.gpu_instance) ||
          !matches(event.compute_instance, mig.compute_instance)) {
        continue;
      }
      found = true;
      put(mig.uuid);
    }
  }
  // An instance that we do not know of is no reason to ignore the error.
  if (!found) put(gpu);
}

void Tracker::answered(const Gpu& gpu, std::int64_t now_ms) {
  auto found = marks_.find(gpu.uuid);
  if (found == marks_.end()) return;
  if (found->second.contains(Reason::kGpuLost)) came_back(gpu.uuid, now_ms);
  unmark(gpu.uuid, Reason::kGpuLost);
  unmark(gpu.uuid, Reason::kNvmlStuck);
  unmark(gpu.uuid, Reason::kQueryFailed);
}

void Tracker::forget_missing(const inventory::Reading& reading) {
  std::set<std::string> present;
  known_.clear();
  for (const Gpu& gpu : reading.gpus) {
    present.insert(gpu.uuid);
    known_[gpu.uuid].bus_id = gpu.pci_bus_id;
    auto& migs = known_[gpu.uuid].migs;
    for (const MigDevice& mig : gpu.mig_devices) {
      present.insert(mig.uuid);
      migs.push_back({mig.uuid, mig.gpu_instance, mig.compute_instance});
    }
  }
  auto is_missing = [&](const auto& entry) { return !present.contains(entry.first); };
  std::erase_if(marks_, is_missing);
  std::erase_if(unwatched_, is_missing);
  std::erase_if(watches_, is_missing);
  std::erase_if(memory_xids_, is_missing);
  std::erase_if(recoveries_, is_missing);
}

void Tracker::on_reading(const inventory::Reading& reading, std::int64_t now_ms) {
  on_driver_answers();
  for (const Gpu& gpu : reading.gpus) {
    auto fault = std::find_if(reading.faults.begin(), reading.faults.end(),
                              [&](const GpuFault& f) { return f.uuid == gpu.uuid; });
    if (fault == reading.faults.end()) {
      answered(gpu, now_ms);
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
    watches_.clear();
    memory_xids_.clear();
  }
  driver_stuck_.reset();
  driver_failed_.reset();
}

void Tracker::clear(std::string_view uuid) {
  std::vector<std::string> devices;
  if (uuid.empty()) {
    for (const auto& [device, marks] : marks_) devices.push_back(device);
  } else {
    devices = with_migs(std::string(uuid));
  }
  for (const std::string& device : devices) {
    auto found = marks_.find(device);
    if (found == marks_.end()) continue;
    std::erase_if(found->second, [](const auto& each) { return !is_by_reading(each.first); });
    if (found->second.empty()) marks_.erase(found);
    recoveries_.erase(device);
  }
}

std::optional<Unhealthy> Tracker::shown(const std::string& uuid) const {
  if (auto found = marks_.find(uuid); found != marks_.end()) {
    return found->second.begin()->second.shown;
  }
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
