// The part of the tracker that judges conditions and decides when a GPU is trusted again.
#include <algorithm>

#include "health/tracker.h"

namespace kerf::health {

namespace {

// An XID and the count of the error that it tells of are seen in either order, this far apart at
// most.
constexpr std::int64_t kSameErrorMs = 10'000;
// A GPU may fall off and come back so often, in quick succession, before it must first prove
// itself.
constexpr unsigned kFreeLosses = 2;

std::string times(unsigned count) { return std::to_string(count) + " times"; }

}  // namespace

std::int64_t Tracker::quiet_time(const std::string& uuid, std::int64_t now_ms) const {
  std::int64_t base = settings_.quiet_ms;
  std::int64_t most = std::max(settings_.max_quiet_ms, base);
  auto found = recoveries_.find(uuid);
  if (found == recoveries_.end() || now_ms - found->second.at_ms >= most) return base;
  std::int64_t last = std::max(found->second.quiet_ms, base);
  return last > most / 2 ? most : std::max(2 * last, base);
}

bool Tracker::answers(const std::string& gpu) const {
  auto found = marks_.find(gpu);
  return found == marks_.end() || !is_by_reading(found->second.begin()->first);
}

bool Tracker::is_told_by_xid(const std::string& gpu, std::int64_t now_ms) const {
  auto found = memory_xids_.find(gpu);
  return found != memory_xids_.end() && std::abs(now_ms - found->second) <= kSameErrorMs;
}

void Tracker::was_reset(const std::string& gpu) {
  for (const std::string& device : with_migs(gpu)) {
    for (Reason reason : {Reason::kXidReset, Reason::kEcc, Reason::kRowRemap, Reason::kXid}) {
      unmark(device, reason);
    }
  }
  memory_xids_.erase(gpu);
}

// What was wrong before is not wrong any more; but a GPU that keeps falling off is not trusted at
// once.
void Tracker::came_back(const std::string& gpu, std::int64_t now_ms) {
  was_reset(gpu);
  for (Reason reason : {Reason::kNvlink, Reason::kThermal}) unmark(gpu, reason);
  watches_.erase(gpu);
  Recovery& last = recoveries_[gpu];
  bool soon =
      last.losses > 0 && now_ms - last.at_ms < std::max(settings_.max_quiet_ms, settings_.quiet_ms);
  last.losses = soon ? last.losses + 1 : 1;
  last.at_ms = now_ms;
  if (last.losses > kFreeLosses && settings_.quiet_ms != kNever) {
    mark(gpu, Reason::kFlapping, "flapping",
         "it was lost and came back " + times(last.losses) + ", and is watched before it is used",
         now_ms);
  }
}

void Tracker::on_double_bit(const std::string& gpu, std::int64_t now_ms) {
  if (!settings_.ecc || !known_.contains(gpu) || is_told_by_xid(gpu, now_ms)) return;
  mark(gpu, Reason::kEcc, "ecc", "uncorrectable memory error", now_ms);
}

void Tracker::on_conditions(const std::vector<Conditions>& all, std::int64_t now_ms) {
  for (const Conditions& now : all) {
    if (!known_.contains(now.gpu)) continue;
    Watch& watch = watches_[now.gpu];
    judge_recovery(now, watch);
    judge_errors(now, watch, now_ms);
    judge_rows(now, now_ms);
    judge_links(now, watch, now_ms);
    judge_heat(now, watch, now_ms);
  }
}

void Tracker::judge_recovery(const Conditions& now, Watch& watch) {
  if (!now.recovery_action) return;
  bool wants = *now.recovery_action != 0;
  if (watch.wants_recovery && !wants) was_reset(now.gpu);
  watch.wants_recovery = wants;
}

void Tracker::judge_errors(const Conditions& now, Watch& watch, std::int64_t now_ms) {
  if (!settings_.ecc || !now.uncorrectable) return;
  if (watch.uncorrectable && *now.uncorrectable > *watch.uncorrectable &&
      !is_told_by_xid(now.gpu, now_ms)) {
    mark(now.gpu, Reason::kEcc, "ecc",
         std::to_string(*now.uncorrectable - *watch.uncorrectable) +
             " uncorrectable memory errors more than before",
         now_ms);
  }
  // The driver counts from the last reset.
  if (watch.uncorrectable && *now.uncorrectable < *watch.uncorrectable) {
    unmark(now.gpu, Reason::kEcc);
  }
  watch.uncorrectable = now.uncorrectable;
}

void Tracker::judge_rows(const Conditions& now, std::int64_t now_ms) {
  if (settings_.row_remap_failure && now.remap_failed.value_or(false)) {
    mark(now.gpu, Reason::kRowRemap, "row_remap", "bad memory rows that cannot be replaced",
         now_ms);
  } else if (settings_.row_remap_pending && now.remap_pending.value_or(false)) {
    mark(now.gpu, Reason::kRowRemap, "row_remap",
         "bad memory rows that are replaced when the GPU is reset", now_ms);
  } else {
    unmark(now.gpu, Reason::kRowRemap);
  }
}

// Whether the device at this PCI address is a GPU that is off the bus, so that its links are down
// everywhere.
bool Tracker::is_down(std::string_view bus_id) const {
  return std::any_of(known_.begin(), known_.end(), [&](const auto& entry) {
    return entry.second.bus_id == bus_id && !answers(entry.first);
  });
}

void Tracker::judge_links(const Conditions& now, Watch& watch, std::int64_t now_ms) {
  if (!settings_.nvlink) return;
  std::string down;
  for (const LinkCondition& link : now.links) {
    if (link.up) {
      watch.links[link.link] = link.remote;
      continue;
    }
    auto before = watch.links.find(link.link);
    if (before == watch.links.end()) continue;
    if (!before->second.empty() && is_down(before->second)) continue;
    down += (down.empty() ? "" : ", ") + std::to_string(link.link);
  }
  if (!down.empty()) mark(now.gpu, Reason::kNvlink, "nvlink", "NVLink down: " + down, now_ms);
}

void Tracker::judge_heat(const Conditions& now, Watch& watch, std::int64_t now_ms) {
  if (!settings_.thermal) return;
  std::string celsius =
      now.temperature ? " at " + std::to_string(*now.temperature) + " degrees Celsius" : "";
  bool at_limit = now.temperature && now.shutdown_temperature && *now.shutdown_temperature > 0 &&
                  *now.temperature >= *now.shutdown_temperature;
  if (at_limit) {
    mark(now.gpu, Reason::kThermal, "thermal", "as hot as it may get," + celsius.substr(3), now_ms);
  }
  if (!now.slowed_by_heat.value_or(false)) {
    watch.hot_since_ms.reset();
    return;
  }
  if (!watch.hot_since_ms) watch.hot_since_ms = now_ms;
  if (now_ms - *watch.hot_since_ms < settings_.thermal_ms) return;
  mark(now.gpu, Reason::kThermal, "thermal", "slowed down by heat" + celsius, now_ms);
}

void Tracker::on_time(std::int64_t now_ms) {
  for (const auto& [gpu, known] : known_) {
    auto watch = watches_.find(gpu);
    bool waits = watch != watches_.end() && watch->second.wants_recovery;
    for (const std::string& device : with_migs(gpu)) {
      auto found = marks_.find(device);
      if (found == marks_.end()) continue;
      bool quiet = answers(gpu) && !waits && !driver_stuck_ && !driver_failed_;
      for (auto& [reason, mark] : found->second) {
        // A GPU that does not answer, or that the driver wants reset, is not quiet; nor is time
        // counted that the clock took back.
        if (!quiet || now_ms < mark.last_ms) mark.last_ms = now_ms;
      }
      if (quiet) quiet_marks(device, now_ms);
    }
  }
}

void Tracker::quiet_marks(const std::string& device, std::int64_t now_ms) {
  std::vector<Reason> over;
  std::int64_t waited = 0;
  for (const auto& [reason, mark] : marks_[device]) {
    bool ends = ends_by_quiet(reason) && mark.quiet_ms != kNever;
    if (!ends || now_ms - mark.last_ms < mark.quiet_ms) continue;
    over.push_back(reason);
    waited = std::max(waited, mark.quiet_ms);
  }
  if (over.empty()) return;
  for (Reason reason : over) unmark(device, reason);
  Recovery& last = recoveries_[device];
  last.at_ms = now_ms;
  last.quiet_ms = waited;
}

void Tracker::configure(Settings settings) {
  settings_ = std::move(settings);
  drop_unwanted();
  for (auto& [device, marks] : marks_) {
    for (auto& [reason, mark] : marks) mark.quiet_ms = settings_.quiet_ms;
  }
}

void Tracker::drop_unwanted() {
  for (auto& [device, marks] : marks_) {
    std::erase_if(marks, [&](const auto& entry) {
      switch (entry.first) {
        case Reason::kXid:
        case Reason::kXidReset:
          return settings_.policy.ignores(entry.second.xid);
        case Reason::kEcc:
          return !settings_.ecc || !settings_.policy.watches();
        case Reason::kRowRemap:
          return !settings_.polls() ||
                 (!settings_.row_remap_failure && !settings_.row_remap_pending);
        case Reason::kNvlink:
          return !settings_.nvlink || !settings_.policy.watches();
        case Reason::kThermal:
          return !settings_.thermal || !settings_.policy.watches();
        default:
          return false;
      }
    });
  }
  std::erase_if(marks_, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace kerf::health
