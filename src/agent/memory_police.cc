#include "agent/memory_police.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

#include <fmt/format.h>

namespace kerf::agent {
namespace {

// One pod at a time, so that the memory that it gives back is seen before the next one goes.
constexpr std::int64_t kBetweenEvictionsMs = 30'000;

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / 0x1p30);
}

std::string name_of(const usage::Key& key) {
  std::string out = key.owner.name_space + "/" + key.owner.pod;
  if (!key.owner.container.empty()) out += " (" + key.owner.container + ")";
  return out;
}

PodRef ref_of(const usage::Key& key, const usage::Standing& standing) {
  return {key.owner.name_space, key.owner.pod, standing.uid, key.owner.container};
}

}  // namespace

std::string breach_text(const usage::Key& key, const usage::Standing& standing) {
  const char* what = standing.has_quota ? "its quota" : "its fair share";
  const std::uint64_t above =
      standing.bytes > standing.limit_bytes ? standing.bytes - standing.limit_bytes : 0;
  return fmt::format("uses {} of {}, {} above {} of {}", gib(standing.bytes), key.uuid, gib(above),
                     what, gib(standing.limit_bytes));
}

void MemoryPolice::configure(const config::UsageOptions& options) {
  options_ = options;
  dog_.configure({options.window_ns / 1'000'000, options.tolerance_percent});
}

void MemoryPolice::look(const std::map<usage::Key, usage::Use>& uses, std::int64_t now_ms) {
  for (const usage::Watchdog::Turn& each : dog_.look(uses, now_ms)) turn(each);
  if (options_.over_share == config::OverShare::kEvict) evict_one(now_ms);
}

void MemoryPolice::turn(const usage::Watchdog::Turn& turn) {
  const std::string pod = name_of(turn.key);
  if (turn.began) ++breaches_;
  if (options_.over_share == config::OverShare::kNone) return;
  if (!turn.began) {
    log::info("usage", "a pod is back within its GPU memory",
              {{"pod", pod}, {"gpu", turn.key.uuid}});
    note_(metrics::EventLevel::kInfo, pod + " is back within its memory on " + turn.key.uuid);
    return;
  }
  const std::string text = breach_text(turn.key, turn.standing);
  log::warn("usage", "a pod uses more GPU memory than is its own", {{"pod", pod}, {"use", text}});
  note_(metrics::EventLevel::kWarn, pod + " " + text);
  if (actions_ == nullptr) return;
  actions_->tell(ref_of(turn.key, turn.standing), "GPUMemoryOverShare", "The container " + text,
                 true);
}

void MemoryPolice::evict_one(std::int64_t now_ms) {
  const bool soon = last_eviction_ms_ != 0 && now_ms - last_eviction_ms_ < kBetweenEvictionsMs;
  if (actions_ == nullptr || evicting_ || soon) return;
  // The one that is furthest above. Without a uid it might be another pod by now.
  const std::pair<const usage::Key, usage::Standing>* worst = nullptr;
  auto above = [](const auto& entry) {
    return entry.second.bytes > entry.second.limit_bytes
               ? entry.second.bytes - entry.second.limit_bytes
               : 0;
  };
  for (const auto& entry : dog_.standings()) {
    if (!entry.second.breach || entry.second.above_since_ms == 0 || entry.second.uid.empty())
      continue;
    if (worst == nullptr || above(entry) > above(*worst)) worst = &entry;
  }
  if (worst == nullptr) return;
  evicting_ = true;
  last_eviction_ms_ = now_ms;
  const usage::Key key = worst->first;
  const PodRef pod = ref_of(key, worst->second);
  const std::string text = breach_text(key, worst->second);
  log::warn("usage", "evicting a pod", {{"pod", name_of(key)}, {"because", text}});
  actions_->tell(pod, "GPUMemoryEviction", "The pod is evicted because its container " + text,
                 true);
  actions_->evict(pod, [this, key](const Status& outcome) { evicted(key, outcome); });
}

void MemoryPolice::evicted(const usage::Key& key, const Status& outcome) {
  evicting_ = false;
  eviction_error_.reset();
  if (outcome) {
    ++evictions_;
    note_(metrics::EventLevel::kWarn, name_of(key) + " was evicted for its GPU memory");
    return;
  }
  ++refused_;
  eviction_error_ = outcome.error();
  log::warn("usage", "a pod cannot be evicted", outcome.error());
}

OverLimit MemoryPolice::over() const {
  OverLimit out;
  for (const auto& [key, standing] : dog_.standings()) {
    if (standing.breach) out.insert(key);
  }
  return out;
}

std::vector<metrics::Family> MemoryPolice::families() const {
  using metrics::Type;
  metrics::Family breaches{"kerf_memory_watchdog_breaches_total",
                           "Times that a container used more GPU memory than is its own for longer "
                           "than the watchdog's window.",
                           Type::kCounter,
                           {{{}, static_cast<double>(breaches_)}},
                           {}};
  metrics::Family evictions{"kerf_memory_watchdog_evictions_total",
                            "Evictions asked for by the memory watchdog.",
                            Type::kCounter,
                            {{{{"outcome", "done"}}, static_cast<double>(evictions_)},
                             {{{"outcome", "refused"}}, static_cast<double>(refused_)}},
                            {}};
  return {std::move(breaches), std::move(evictions)};
}

std::optional<Error> MemoryPolice::problem() const {
  if (eviction_error_) return eviction_error_;
  if (actions_ != nullptr && options_.over_share != config::OverShare::kNone) {
    return actions_->error();
  }
  return std::nullopt;
}

}  // namespace kerf::agent
