#include "agent/event_filter.h"

#include <algorithm>
#include <utility>

namespace kerf::agent {

void EventFilter::refill(std::int64_t now_ms) {
  if (allowance_ >= limits_.burst || now_ms < refilled_ms_) {
    refilled_ms_ = now_ms;
    return;
  }
  auto more = static_cast<std::uint64_t>((now_ms - refilled_ms_) / limits_.refill_ms);
  if (more == 0) return;
  allowance_ = static_cast<unsigned>(std::min<std::uint64_t>(limits_.burst, allowance_ + more));
  refilled_ms_ += static_cast<std::int64_t>(more) * limits_.refill_ms;
}

void EventFilter::forget(std::int64_t now_ms) {
  std::erase_if(said_, [&](const auto& each) {
    return each.second.held.count == 0 && each.second.not_before_ms <= now_ms;
  });
}

void EventFilter::happened(std::string reason, std::string message, bool warning,
                           std::int64_t now_ms, std::optional<PodRef> pod) {
  forget(now_ms);
  Key key(pod, reason, message);
  auto found = said_.find(key);
  if (found == said_.end()) {
    if (said_.size() >= limits_.held) {
      ++dropped_;
      return;
    }
    found = said_.emplace(std::move(key), Said{}).first;
    found->second.held.count = 0;
  }
  KubeEvent& held = found->second.held;
  if (held.count == 0) {
    held = {std::move(reason), std::move(message), warning, 0, now_ms, now_ms, std::move(pod)};
  }
  ++held.count;
  held.last_ms = now_ms;
}

std::vector<KubeEvent> EventFilter::take(std::int64_t now_ms) {
  refill(now_ms);
  std::multimap<std::int64_t, Said*> ready;  // by first_ms; equal ones in the order of said_
  for (auto& [key, said] : said_) {
    // The clock was set back: nothing waits longer than a period for that.
    said.not_before_ms = std::min(said.not_before_ms, now_ms + kRepeatMs);
    if (said.held.count > 0 && said.not_before_ms <= now_ms) {
      ready.emplace(said.held.first_ms, &said);
    }
  }
  std::vector<KubeEvent> out;
  for (auto [first_ms, said] : ready) {
    if (allowance_ == 0) break;
    if (allowance_-- == limits_.burst) refilled_ms_ = now_ms;
    out.push_back(said->held);
    said->held.count = 0;
    said->not_before_ms = now_ms + kRepeatMs;
  }
  return out;
}

std::optional<std::int64_t> EventFilter::next_ms() const {
  std::optional<std::int64_t> next;
  for (const auto& [key, said] : said_) {
    if (said.held.count == 0) continue;
    std::int64_t at = said.not_before_ms;
    if (allowance_ == 0) at = std::max(at, refilled_ms_ + limits_.refill_ms);
    next = next ? std::min(*next, at) : at;
  }
  return next;
}

}  // namespace kerf::agent
