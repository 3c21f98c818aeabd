#include "usage/watchdog.h"

namespace kerf::usage {

std::vector<Watchdog::Turn> Watchdog::look(const std::map<Key, Use>& uses, std::int64_t now_ms) {
  std::vector<Turn> turns;
  std::erase_if(standings_, [&uses](const auto& entry) {
    auto use = uses.find(entry.first);
    return use == uses.end() || !use->second.limit_bytes ||
           (!use->second.uid.empty() && !entry.second.uid.empty() &&
            use->second.uid != entry.second.uid);
  });
  for (const auto& [key, use] : uses) {
    if (!use.limit_bytes) continue;
    Standing& s = standings_[key];
    s.bytes = use.memory_bytes;
    s.limit_bytes = *use.limit_bytes;
    s.has_quota = use.has_quota;
    s.uid = use.uid;
    const double most =
        static_cast<double>(s.limit_bytes) * (1 + options_.tolerance_percent / 100.0);
    const bool above = static_cast<double>(s.bytes) > most;
    std::int64_t& since = above ? s.above_since_ms : s.below_since_ms;
    (above ? s.below_since_ms : s.above_since_ms) = 0;
    if (since == 0) since = now_ms;
    if (above == s.breach || now_ms - since < options_.window_ms) continue;
    s.breach = above;
    turns.push_back({key, above, s});
  }
  return turns;
}

}  // namespace kerf::usage
