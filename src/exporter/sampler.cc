#include "exporter/sampler.h"

#include <algorithm>
#include <utility>

#include "exporter/sampler_loop.h"
#include "nvml/thread.h"

namespace kerf::exporter {

using std::chrono::milliseconds;

milliseconds read_deadline(milliseconds interval) {
  return std::clamp(interval / 2, milliseconds(500), milliseconds(10'000));
}

milliseconds greatest_age(milliseconds interval) {
  return std::max(2 * interval + read_deadline(interval), milliseconds(5'000));
}

Sampler::Sampler(SamplerOptions options) : shared_(std::make_shared<Shared>(std::move(options))) {}

Sampler::~Sampler() { stop(); }

Status Sampler::start() {
  Status started = nvml::start_detached("sampler", [shared = shared_] { shared->run(); });
  const std::lock_guard lock(shared_->mutex);
  shared_->started = started.has_value();
  return started;
}

void Sampler::set_node(std::vector<Entity> entities, bool driver_ready, std::uint64_t epoch) {
  const std::lock_guard lock(shared_->mutex);
  shared_->next_node = {std::move(entities), driver_ready, epoch};
  shared_->mail.node = true;
  shared_->changed.notify_all();
}

void Sampler::set_counters(std::shared_ptr<const Wanted> wanted) {
  const std::lock_guard lock(shared_->mutex);
  shared_->next_wanted = std::move(wanted);
  shared_->mail.counters = true;
  shared_->changed.notify_all();
}

void Sampler::set_attribution(std::shared_ptr<const Attribution> attribution) {
  const std::lock_guard lock(shared_->mutex);
  shared_->next_attribution = std::move(attribution);
  shared_->mail.attribution = true;
  shared_->changed.notify_all();
}

void Sampler::stop() {
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->stopping || !shared_->started) return;
    shared_->stopping = true;
    shared_->mail.stop = true;
    shared_->changed.notify_all();
  }
  auto finished = [this](milliseconds limit) {
    std::unique_lock lock(shared_->mutex);
    return shared_->changed.wait_for(lock, limit, [&] { return shared_->finished; });
  };
  if (finished(milliseconds(500))) return;
  // It waits for a driver that hangs: this wakes it.
  shared_->lane.stop(milliseconds(0));
  finished(milliseconds(400));
}

SheetPtr Sampler::sheet() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->sheet;
}

SamplerStats Sampler::stats() const {
  SamplerStats out;
  {
    const std::lock_guard lock(shared_->mutex);
    out = shared_->stats;
  }
  out.nvml = shared_->counters->read();
  out.lane = shared_->lane.stats();
  return out;
}

}  // namespace kerf::exporter
