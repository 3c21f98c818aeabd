// What the sampler's thread does; see sampler.h.
#include "exporter/sampler_loop.h"

#include <algorithm>

#include "base/log.h"
#include "exporter/health.h"

namespace kerf::exporter {

namespace abi = nvml::abi;

namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMaxEvents = 1024;
constexpr milliseconds kEventGrace{10'000};
// Profiling and NVLink traffic need two readings: the second comes soon after the first.
constexpr milliseconds kSecondReading{1'000};

// What may only end in a driver that hangs is kept for the rest of the process.
void keep_for_ever(std::shared_ptr<void> kept) {
  static std::mutex mutex;
  static auto* all = new std::vector<std::shared_ptr<void>>;
  const std::lock_guard lock(mutex);
  all->push_back(std::move(kept));
}

}  // namespace

void Sampler::Shared::run() {
  while (true) {
    Mail taken;
    {
      std::unique_lock lock(mutex);
      changed.wait_until(lock, due, [&] { return mail.any(); });
      taken = std::exchange(mail, Mail{});
    }
    if (taken.stop) break;
    take(taken);
    if (Steady::now() >= due) collect();
    publish();
  }
  end();
  const std::lock_guard lock(mutex);
  finished = true;
  changed.notify_all();
}

void Sampler::Shared::take(const Mail& taken) {
  for (const nvml::Event& event : taken.events) {
    if (event.type != nvml::Event::Type::kXid) continue;
    xids.add(options.clock->mono_ms(), event.uuid, event.gpu_instance,
             static_cast<std::int64_t>(event.xid));
  }
  if (taken.counters) {
    {
      const std::lock_guard lock(mutex);
      wanted = next_wanted;
    }
    for (auto& [uuid, gpu] : known) {
      retired->add(std::exchange(gpu.cell, std::make_shared<Cell>()));
      // Its figures stand at places of the list of before.
      gpu.fresh = false;
    }
    told.clear();
    due = Steady::now();
    rounds_since_start = 0;
  }
  if (taken.attribution) {
    const std::lock_guard lock(mutex);
    attribution = next_attribution;
  }
  if (taken.node) take_node();
}

void Sampler::Shared::take_node() {
  Node next;
  {
    const std::lock_guard lock(mutex);
    next = next_node;
  }
  const bool other_driver = next.epoch != node.epoch;
  node = std::move(next);
  if (other_driver && up) drop_driver("the driver was away");
  std::map<std::string, std::vector<Entity>> by_gpu;
  order.clear();
  for (const Entity& entity : node.entities) {
    std::vector<Entity>& entities = by_gpu[entity.uuid];
    if (entities.empty()) order.push_back(entity.uuid);
    entities.push_back(entity);
  }
  bool different = false;
  for (auto it = known.begin(); it != known.end();) {
    if (by_gpu.contains(it->first)) {
      ++it;
      continue;
    }
    retired->add(it->second.cell);
    it = known.erase(it);
  }
  for (auto& [uuid, entities] : by_gpu) {
    auto [found, fresh] = known.try_emplace(uuid);
    Known& gpu = found->second;
    if (fresh) gpu.clock_events = Window(options.clock_window_ms);
    if (!fresh && gpu.entities == entities) continue;
    different = true;
    retired->add(std::exchange(gpu.cell, std::make_shared<Cell>()));
    gpu.entities = std::move(entities);
    gpu.fresh = false;
  }
  xids.keep(order);
  if (!different) return;
  due = Steady::now();
  rounds_since_start = 0;
}

void Sampler::Shared::collect() {
  const Steady::time_point begun = Steady::now();
  jobs = read_jobs(options.job_directory);
  bool driver_gone = false;
  unknowns = 0;
  std::set<std::string> unread_before = std::exchange(unread, {});
  if (wanted && !order.empty() && ensure_driver()) {
    for (const std::string& uuid : order) {
      if (driver_gone) break;
      Known& gpu = known.at(uuid);
      auto work = [cell = gpu.cell, telling = telling, wanted = wanted, entities = gpu.entities,
                   peers = order, now = begun]() -> Result<GpuAnswer> {
        auto telemetry = telling->get();
        if (!telemetry) return fail(Kind::kGone, "the driver is not initialised");
        if (!cell->reader) {
          std::vector<std::string> others = peers;
          std::erase(others, entities.front().uuid);
          cell->reader =
              std::make_unique<GpuReader>(std::move(telemetry), wanted, entities, others);
        }
        GpuAnswer answer = cell->reader->read(now);
        // A GPU that comes back has another handle.
        if (answer.code != abi::kSuccess) cell->reader.reset();
        return answer;
      };
      judge(uuid, gpu, lane.call(uuid, read_deadline(options.interval), std::move(work)),
            driver_gone);
    }
    for (const std::string& uuid : unread_before) {
      if (!unread.contains(uuid) && known.contains(uuid)) {
        log::info("exporter", "a GPU can be read again", {{"gpu", uuid}});
        std::erase_if(told, [&](const std::string& line) { return line.ends_with(uuid); });
      }
    }
    // A driver that was unloaded under us may answer nothing but "unknown".
    if (driver_gone || unknowns == order.size()) drop_driver("the driver has stopped answering");
    keep_pump();
  }
  let_go();
  ++rounds_since_start;
  milliseconds pause =
      up || order.empty() ? options.interval : std::min(options.interval, options.retry);
  if (rounds_since_start == 1) pause = std::min(pause, kSecondReading);
  // Kept in step: what a reading took does not add up. After a stall the missed ones are left out.
  due = std::max(begun + pause, Steady::now() + pause / 10);
  update_stats(std::chrono::duration<double>(Steady::now() - begun).count());
}

bool Sampler::Shared::ensure_driver() {
  if (up) return true;
  if (!node.driver_ready) return false;
  if (retired_pump) {
    // As long as it keeps the old session the driver would not be initialised anew.
    if (!retired_pump->wait_ended(milliseconds(0))) return false;
    retired_pump.reset();
  }
  Status opened = lane.call("driver", options.init_deadline,
                            [telling = telling, counters = counters,
                             candidates = options.library_candidates]() -> Status {
                              auto library = telling->slot->libraries().open(candidates);
                              if (!library) return fail(std::move(library.error()));
                              auto session = nvml::Session::open(*library, counters);
                              if (!session) return fail(std::move(session.error()));
                              telling->open(std::move(*session));
                              return {};
                            });
  up = opened.has_value();
  const std::lock_guard lock(mutex);
  stats.driver_up = up;
  stats.trouble = up ? std::string() : opened.error().text();
  return up;
}

void Sampler::Shared::drop_driver(const std::string& why) {
  log::info("exporter", "starting anew with the driver", {{"reason", why}});
  up = false;
  rounds_since_start = 0;
  if (pump) {
    pump->stop();
    retired_pump = std::move(pump);
  }
  pump_uuids.clear();
  for (auto& [uuid, gpu] : known) {
    retired->add(std::exchange(gpu.cell, std::make_shared<Cell>()));
  }
  static_cast<void>(lane.call("driver", options.init_deadline,
                              [telling = telling, retired = retired]() -> Status {
                                retired->clear();
                                telling->close();
                                return {};
                              }));
  told.clear();
}

void Sampler::Shared::let_go() {
  if (retired->empty()) return;
  static_cast<void>(
      lane.call("readers", read_deadline(options.interval), [retired = retired]() -> Status {
        retired->clear();
        return {};
      }));
}

// The lane may be hanging, or be stopped already.
void Sampler::Shared::end() {
  if (pump) pump->stop();
  for (auto& [uuid, gpu] : known) retired->add(std::move(gpu.cell));
  known.clear();
  const Status ended =
      lane.call("driver", milliseconds(300), [telling = telling, retired = retired]() -> Status {
        retired->clear();
        telling->close();
        return {};
      });
  if (ended) return;
  keep_for_ever(retired);
  keep_for_ever(telling);
}

void Sampler::Shared::judge(const std::string& uuid, Known& gpu, Result<GpuAnswer> answer,
                            bool& driver_gone) {
  const std::int64_t now_ms = options.clock->mono_ms();
  if (answer && answer->code == abi::kSuccess) {
    gpu.answer = std::move(*answer);
    gpu.read_ms = now_ms;
    gpu.fresh = true;
    if (gpu.answer.clock_reasons) {
      for (const auto& [bit, name] : clock_event_names()) {
        if ((*gpu.answer.clock_reasons & bit) == 0) continue;
        gpu.clock_events.add(now_ms, static_cast<std::int64_t>(bit));
      }
    }
    if (wanted->health) {
      const double minutes = static_cast<double>(now_ms - gpu.health_before_ms) / 60'000;
      gpu.health = health_samples(
          0, gpu.answer.health, gpu.health_before_ms == 0 ? nullptr : &gpu.health_before, minutes);
      gpu.health_before = gpu.answer.health;
      gpu.health_before_ms = now_ms;
    }
    if (!gpu.answer.gpm) {
      tell_once("this GPU has no performance monitoring through NVML: no DCGM_FI_PROF_ samples",
                gpu.entities.front().model);
    }
    return;
  }
  unread.insert(uuid);
  const std::uint32_t code = answer ? answer->code : std::uint32_t{abi::kErrorTimeout};
  const std::string why = answer ? nvml::return_name(code) : answer.error().text();
  tell_once("a GPU could not be read: " + why, uuid);
  driver_gone = driver_gone || nvml::is_driver_failure(static_cast<int>(code));
  if (code == abi::kErrorUnknown) ++unknowns;
  // It is known to be lost, not late: its figures are those of a GPU that is not there.
  if (code == abi::kErrorGpuIsLost || code == abi::kErrorResetRequired) gpu.fresh = false;
}

void Sampler::Shared::keep_pump() {
  if (!up) return;
  if (pump && pump_uuids == order) return;
  if (pump) {
    pump->stop();
    // One more that sleeps in the driver for a moment; it ends by itself.
    retired_pump = std::move(pump);
  }
  nvml::EventPump::Sink sink;
  std::weak_ptr<Shared> weak = weak_from_this();
  sink.on_event = [weak](nvml::Event event) {
    auto self = weak.lock();
    if (!self) return;
    const std::lock_guard lock(self->mutex);
    if (self->mail.events.size() < kMaxEvents) self->mail.events.push_back(std::move(event));
    self->changed.notify_all();
  };
  sink.on_watching = [](const std::vector<nvml::EventPump::Sink::Refusal>&) {};
  sink.on_end = [](const Error&) {};
  auto begun = nvml::EventPump::start(telling->slot, order, std::move(sink), options.event_wait,
                                      kEventGrace);
  if (!begun) {
    tell_once("XIDs cannot be watched: " + begun.error().text(), "");
    return;
  }
  pump = std::move(*begun);
  pump_uuids = order;
}

void Sampler::Shared::tell_once(const std::string& what, const std::string& subject) {
  if (told.size() < 256 && told.insert(what + subject).second) {
    log::warn("exporter", what, {{"subject", subject}});
  }
}

void Sampler::Shared::update_stats(double seconds) {
  const std::lock_guard lock(mutex);
  ++stats.rounds;
  stats.failures += unread.size();
  stats.unread.assign(unread.begin(), unread.end());
  stats.last_round_seconds = seconds;
  stats.driver_up = up;
}

}  // namespace kerf::exporter
