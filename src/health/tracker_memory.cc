// The part of the tracker that is carried from one agent to the next.
#include <algorithm>
#include <utility>

#include "health/memory.h"
#include "health/tracker.h"

namespace kerf::health {

std::optional<Tracker::Reason> Tracker::reason_named(std::string_view name) {
  for (Reason reason : kRemembered) {
    if (name_of(reason) == name) return reason;
  }
  return std::nullopt;
}

std::string_view Tracker::name_of(Reason reason) {
  switch (reason) {
    case Reason::kXidReset:
      return "xid-reset";
    case Reason::kEcc:
      return "ecc";
    case Reason::kXid:
      return "xid";
    case Reason::kNvlink:
      return "nvlink";
    case Reason::kThermal:
      return "thermal";
    case Reason::kFlapping:
      return "flapping";
    default:
      return "";
  }
}

Memory Tracker::remember() const {
  Memory out;
  for (const auto& [device, marks] : marks_) {
    for (Reason reason : kRemembered) {
      auto found = marks.find(reason);
      if (found == marks.end()) continue;
      const Mark& mark = found->second;
      out.marks.push_back({device, std::string(name_of(reason)), mark.shown.since_ms, mark.xid,
                           mark.shown.reason, mark.shown.detail});
    }
  }
  for (const auto& [uuid, watch] : watches_) {
    out.gpus.push_back({uuid, watch.uncorrectable, watch.wants_recovery, watch.links});
  }
  for (const auto& [device, recovery] : recoveries_) {
    out.recoveries.push_back({device, recovery.at_ms, recovery.quiet_ms, recovery.losses});
  }
  return out;
}

bool Tracker::is_present(const std::string& device) const {
  return std::ranges::any_of(known_, [&](const auto& entry) {
    return entry.first == device ||
           std::ranges::any_of(entry.second.migs,
                               [&](const KnownMig& mig) { return mig.uuid == device; });
  });
}

void Tracker::recall(const Memory& memory, std::int64_t now_ms) {
  for (const Memory::Gpu& gpu : memory.gpus) {
    if (!known_.contains(gpu.uuid)) continue;
    Watch& watch = watches_[gpu.uuid];
    watch.uncorrectable = gpu.uncorrectable;
    watch.links = gpu.links;
    watch.wants_recovery = gpu.wants_recovery;
  }
  for (const Memory::Recovery& recovery : memory.recoveries) {
    if (!is_present(recovery.device)) continue;
    recoveries_[recovery.device] = {std::min(recovery.at_ms, now_ms), recovery.quiet_ms,
                                    recovery.losses};
  }
  for (const Memory::Mark& mark : memory.marks) {
    const std::optional<Reason> reason = reason_named(mark.reason);
    if (!reason || !is_present(mark.device)) continue;
    Mark made;
    made.shown = {mark.word, mark.detail, std::min(mark.since_ms, now_ms)};
    // Nobody listened meanwhile: the quiet time begins anew.
    made.last_ms = now_ms;
    made.quiet_ms = quiet_time(mark.device, made.shown.since_ms);
    made.xid = mark.xid;
    marks_[mark.device].emplace(*reason, std::move(made));
  }
  drop_unwanted();
}

}  // namespace kerf::health
