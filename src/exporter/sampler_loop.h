// The inside of the sampler: what its thread knows and does. Internal to the room.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "exporter/sampler.h"
#include "exporter/windows.h"
#include "nvml/events.h"
#include "nvml/telemetry.h"

namespace kerf::exporter {

struct Mail {
  bool stop = false;
  bool node = false;
  bool counters = false;
  bool attribution = false;
  std::deque<nvml::Event> events;

  bool any() const { return stop || node || counters || attribution || !events.empty(); }
};

struct Node {
  std::vector<Entity> entities;
  bool driver_ready = false;
  std::uint64_t epoch = 0;
};

// A reader and the way to it. Both are touched on the lane alone.
struct Cell {
  std::unique_ptr<GpuReader> reader;
};

// What is known of one GPU between readings.
struct Known {
  std::vector<Entity> entities;
  std::shared_ptr<Cell> cell = std::make_shared<Cell>();
  GpuAnswer answer;          // the newest that came
  std::int64_t read_ms = 0;  // when; monotonic
  bool fresh = false;        // there is an answer that may be shown
  Window clock_events{1};
  HealthFacts health_before;
  std::int64_t health_before_ms = 0;
  std::vector<Reading::Extra> health;
};

// The session with the driver. Threads of the lane alone make and end it; one of them may hang
// while the next goes on.
class Telling {
 public:
  std::shared_ptr<nvml::SessionSlot> slot = std::make_shared<nvml::SessionSlot>();
  std::shared_ptr<const nvml::Telemetry> get() const {
    const std::lock_guard lock(mutex_);
    return telemetry_;
  }
  void open(std::shared_ptr<const nvml::Session> session) {
    slot->set(session);
    auto telemetry = std::make_shared<const nvml::Telemetry>(std::move(session));
    const std::lock_guard lock(mutex_);
    telemetry_ = std::move(telemetry);
  }
  void close() {
    std::shared_ptr<const nvml::Telemetry> ended;
    {
      const std::lock_guard lock(mutex_);
      ended = std::move(telemetry_);
    }
    slot->clear();
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const nvml::Telemetry> telemetry_;
};

// Readers that are no longer wanted. They end in the driver, therefore on the lane.
class Bag {
 public:
  void add(std::shared_ptr<Cell> cell) {
    const std::lock_guard lock(mutex_);
    cells_.push_back(std::move(cell));
  }
  bool empty() const {
    const std::lock_guard lock(mutex_);
    return cells_.empty();
  }
  void clear() {
    std::vector<std::shared_ptr<Cell>> cells;
    {
      const std::lock_guard lock(mutex_);
      cells.swap(cells_);
    }
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Cell>> cells_;
};

// Owned by the sampler and its threads together.
struct Sampler::Shared : std::enable_shared_from_this<Shared> {
  explicit Shared(SamplerOptions given)
      : options(std::move(given)), lane("nvml-call"), xids(options.xid_window_ms) {}

  const SamplerOptions options;
  nvml::Lane lane;
  std::shared_ptr<nvml::CallCounters> counters = std::make_shared<nvml::CallCounters>();
  std::shared_ptr<Telling> telling = std::make_shared<Telling>();

  mutable std::mutex mutex;
  std::condition_variable changed;
  Mail mail;
  Node next_node;
  std::shared_ptr<const Wanted> next_wanted;
  std::shared_ptr<const Attribution> next_attribution;
  SheetPtr sheet;
  SamplerStats stats;
  bool started = false;
  bool stopping = false;
  bool finished = false;

  // The sampler thread's own from here on.
  Node node;
  std::shared_ptr<const Wanted> wanted;
  std::shared_ptr<const Attribution> attribution = std::make_shared<const Attribution>();
  std::vector<std::string> order;  // UUIDs of GPUs as the node lists them
  std::map<std::string, Known> known;
  std::shared_ptr<Bag> retired = std::make_shared<Bag>();
  XidLog xids;
  Jobs jobs;
  std::unique_ptr<nvml::EventPump> pump;
  std::vector<std::string> pump_uuids;
  std::unique_ptr<nvml::EventPump> retired_pump;
  std::set<std::string> told;
  std::set<std::string> unread;  // GPUs that did not answer in this round
  std::size_t unknowns = 0;      // of them, with an error that says nothing
  bool up = false;
  unsigned rounds_since_start = 0;
  std::chrono::steady_clock::time_point due = std::chrono::steady_clock::now();

  void run();
  void take(const Mail& taken);
  void take_node();
  void collect();
  bool ensure_driver();
  void drop_driver(const std::string& why);
  void let_go();
  void end();
  void judge(const std::string& uuid, Known& gpu, Result<GpuAnswer> answer, bool& driver_gone);
  void keep_pump();
  void publish();
  void add_readings(Known& gpu, std::int64_t now_ms, std::vector<Reading>& out);
  void add_extras(const Known& gpu, std::int64_t now_ms, Reading& reading, Window& clock_events);
  void tell_once(const std::string& what, const std::string& subject);
  void update_stats(double seconds);
};

}  // namespace kerf::exporter
