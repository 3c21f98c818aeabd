// From what the sampler knows to the sheet that scrapes print.
#include <algorithm>

#include "exporter/sampler_loop.h"

namespace kerf::exporter {

void Sampler::Shared::add_extras(const Known& gpu, std::int64_t now_ms, Reading& reading,
                                 Window& clock_events) {
  const std::vector<Counter>& computed = wanted->counters.computed;
  for (std::size_t i = 0; i < computed.size(); ++i) {
    std::vector<Reading::Extra> more;
    switch (static_cast<Computed>(computed[i].field->argument)) {
      case Computed::kXidErrors:
        more = xid_samples(i, xids.counts(reading.entity, now_ms), xids.window_ms());
        break;
      case Computed::kClockEvents:
        more = clock_samples(i, clock_events.counts(now_ms), clock_events.length_ms());
        break;
      case Computed::kHealth:
        more = gpu.health;
        break;
      case Computed::kP2p:
        for (const auto& [uuid, status] : gpu.answer.peers) {
          constexpr const char* kWords[] = {"OK",
                                            "ChipsetNotSupported",
                                            "GPUNotSupported",
                                            "TopologyNotSupported",
                                            "DisabledByRegKey",
                                            "NotSupported",
                                            "Unknown"};
          auto peer = known.find(uuid);
          if (peer == known.end() || peer->second.entities.empty()) continue;
          Reading::Extra extra;
          extra.labels = {{"link_status", kWords[std::min<std::size_t>(status, 6)]},
                          {"peer_gpu", std::to_string(peer->second.entities.front().gpu)}};
          extra.value = status;
          more.push_back(std::move(extra));
        }
        break;
    }
    for (Reading::Extra& extra : more) {
      extra.counter = i;
      reading.extras.push_back(std::move(extra));
    }
  }
}

void Sampler::Shared::add_readings(Known& gpu, std::int64_t now_ms, std::vector<Reading>& out) {
  const bool aged = now_ms - gpu.read_ms > greatest_age(options.interval).count();
  if (!gpu.fresh || aged || gpu.answer.parts.size() != gpu.entities.size()) return;
  for (std::size_t i = 0; i < gpu.entities.size(); ++i) {
    Reading reading;
    reading.entity = gpu.entities[i];
    reading.values = gpu.answer.parts[i].values;
    reading.texts = gpu.answer.parts[i].texts;
    reading.read_ms = gpu.read_ms;
    for (std::size_t at = 0; at < reading.values.size(); ++at) {
      if (wanted->counters.values[at].field->source == Source::kXid) {
        reading.values[at] = Value::integer(xids.last(reading.entity));
      }
    }
    add_extras(gpu, now_ms, reading, gpu.clock_events);
    out.push_back(std::move(reading));
  }
}

void Sampler::Shared::publish() {
  if (!wanted) return;
  const std::int64_t now_ms = options.clock->mono_ms();
  std::vector<Reading> readings;
  for (const std::string& uuid : order) add_readings(known.at(uuid), now_ms, readings);
  SheetPtr made = make_sheet(wanted->counters, readings, *attribution, jobs, options.page);
  const std::lock_guard lock(mutex);
  sheet = std::move(made);
}

}  // namespace kerf::exporter
