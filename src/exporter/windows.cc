#include "exporter/windows.h"

#include <algorithm>

namespace kerf::exporter {
namespace {

constexpr std::int64_t kSteps = 100;
// More different numbers than a broken driver needs to say so.
constexpr std::size_t kMaxKeys = 256;

Reading::Extra sample(std::size_t counter, std::int64_t window_ms, std::int64_t value) {
  Reading::Extra out;
  out.counter = counter;
  out.labels = {{"window_size_in_ms", std::to_string(window_ms)}};
  out.value = value;
  return out;
}

}  // namespace

Window::Window(std::int64_t length_ms)
    : length_ms_(std::max<std::int64_t>(length_ms, 1)),
      step_ms_(std::max<std::int64_t>(length_ms_ / kSteps, 1)) {}

void Window::expire(std::int64_t now_ms) {
  while (!buckets_.empty() && buckets_.front().begin <= now_ms - length_ms_) buckets_.pop_front();
}

void Window::add(std::int64_t now_ms, std::int64_t key, std::int64_t times) {
  expire(now_ms);
  if (buckets_.empty() || now_ms >= buckets_.back().begin + step_ms_) {
    buckets_.push_back({now_ms, {}});
  }
  auto& counts = buckets_.back().counts;
  if (counts.size() < kMaxKeys || counts.contains(key)) counts[key] += times;
}

std::map<std::int64_t, std::int64_t> Window::counts(std::int64_t now_ms) {
  expire(now_ms);
  std::map<std::int64_t, std::int64_t> out;
  for (const Bucket& bucket : buckets_) {
    for (const auto& [key, times] : bucket.counts) out[key] += times;
  }
  return out;
}

void XidLog::add(std::int64_t now_ms, const std::string& uuid, std::optional<unsigned> instance,
                 std::int64_t xid) {
  auto [found, fresh] = entries_.try_emplace(Key(uuid, instance), Entry{0, 0, Window(window_ms_)});
  Entry& entry = found->second;
  entry.last = xid;
  entry.order = ++order_;
  entry.window.add(now_ms, xid);
}

std::int64_t XidLog::last(const Entity& entity) const {
  std::int64_t out = 0;
  std::int64_t newest = 0;
  for (const auto& [key, entry] : entries_) {
    const bool concerns = key.first == entity.uuid &&
                          (!entity.instance || !key.second || *key.second == entity.instance->id);
    if (concerns && entry.order > newest) {
      newest = entry.order;
      out = entry.last;
    }
  }
  return out;
}

std::map<std::int64_t, std::int64_t> XidLog::counts(const Entity& entity, std::int64_t now_ms) {
  std::map<std::int64_t, std::int64_t> out;
  for (auto& [key, entry] : entries_) {
    const bool concerns = key.first == entity.uuid &&
                          (!entity.instance || !key.second || *key.second == entity.instance->id);
    if (!concerns) continue;
    for (const auto& [xid, times] : entry.window.counts(now_ms)) out[xid] += times;
  }
  return out;
}

void XidLog::keep(const std::vector<std::string>& uuids) {
  std::erase_if(entries_, [&](const auto& entry) {
    return std::ranges::find(uuids, entry.first.first) == uuids.end();
  });
}

std::vector<std::pair<std::uint64_t, const char*>> clock_event_names() {
  return {{0x1, "gpu_idle"},    {0x2, "clocks_setting"},  {0x4, "power_cap"},
          {0x8, "hw_slowdown"}, {0x10, "sync_boost"},     {0x20, "sw_thermal"},
          {0x40, "hw_thermal"}, {0x80, "hw_power_brake"}, {0x100, "display_clocks"}};
}

std::vector<Reading::Extra> xid_samples(std::size_t counter,
                                        const std::map<std::int64_t, std::int64_t>& times,
                                        std::int64_t window_ms) {
  std::vector<Reading::Extra> out;
  for (const auto& [xid, count] : times) {
    out.push_back(sample(counter, window_ms, count));
    out.back().labels.emplace_back("xid", std::to_string(xid));
  }
  if (out.empty()) {
    out.push_back(sample(counter, window_ms, 0));
    out.back().labels.emplace_back("xid", "0");
  }
  return out;
}

std::vector<Reading::Extra> clock_samples(std::size_t counter,
                                          const std::map<std::int64_t, std::int64_t>& times,
                                          std::int64_t window_ms) {
  std::vector<Reading::Extra> out;
  for (const auto& [bit, name] : clock_event_names()) {
    auto found = times.find(static_cast<std::int64_t>(bit));
    if (found == times.end()) continue;
    out.push_back(sample(counter, window_ms, found->second));
    out.back().labels.emplace_back("clock_event", name);
  }
  if (out.empty()) out.push_back(sample(counter, window_ms, 0));
  return out;
}

}  // namespace kerf::exporter
