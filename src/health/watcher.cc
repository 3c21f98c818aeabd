#include "health/watcher.h"

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "health/inbox.h"
#include "health/watch_loop.h"
#include "nvml/events.h"
#include "nvml/thread.h"

namespace kerf::health {

// Owned by the watcher and the watch thread together.
struct Watcher::Shared {
  explicit Shared(WatcherOptions given)
      : options(std::move(given)), lane("nvml-call", [box = inbox] {
          box->put([](Mail& mail) { mail.lane_returned = true; });
        }) {}

  void run(const Post& post, const OnChange& on_change);
  bool wait_finished(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, limit, [&] { return finished; });
  }

  const WatcherOptions options;
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::shared_ptr<nvml::SessionSlot> slot = std::make_shared<nvml::SessionSlot>();
  std::shared_ptr<nvml::CallCounters> counters = std::make_shared<nvml::CallCounters>();
  // Read by what has been posted, so that nothing is delivered after stop().
  std::shared_ptr<std::atomic<bool>> wanted = std::make_shared<std::atomic<bool>>(true);
  Published published;
  nvml::Lane lane;

  std::mutex mutex;
  std::condition_variable changed;
  bool finished = false;
};

void Watcher::Shared::run(const Post& post, const OnChange& on_change) {
  {
    WatchLoop loop(
        {options, inbox, lane, slot, counters, published, [&](inventory::SnapshotPtr snapshot) {
           post([wanted = wanted, on_change, snapshot = std::move(snapshot)] {
             if (*wanted) on_change(snapshot);
           });
         }});
    loop.run();
  }
  std::lock_guard lock(mutex);
  finished = true;
  changed.notify_all();
}

Watcher::Watcher(WatcherOptions options) : options_(std::move(options)) {}

Watcher::~Watcher() { stop(); }

Status Watcher::start(Post post, OnChange on_change) {
  if (shared_) return fail(Kind::kInvalid, "the GPU watcher was already started");
  shared_ = std::make_shared<Shared>(options_);
  Status started = nvml::start_detached(
      "nvml-watch", [shared = shared_, post = std::move(post), on_change = std::move(on_change)] {
        shared->run(post, on_change);
      });
  if (!started) shared_.reset();
  return started;
}

void Watcher::refresh() {
  if (shared_) shared_->inbox->put([](Mail& mail) { mail.refresh = true; });
}

void Watcher::configure(Settings settings) {
  if (!shared_) return;
  shared_->inbox->put([&](Mail& mail) { mail.settings = std::move(settings); });
}

void Watcher::clear(std::string_view uuid) {
  if (!shared_) return;
  shared_->inbox->put([&](Mail& mail) { mail.clears.emplace_back(uuid); });
}

void Watcher::stop() {
  if (!shared_ || !*shared_->wanted) return;
  *shared_->wanted = false;
  shared_->inbox->put([](Mail& mail) { mail.stop = true; });
  // Wakes the watch thread if it waits for the driver; the session ends on the lane, after whatever
  // is still running there.
  shared_->lane.stop(std::chrono::milliseconds(500), [slot = shared_->slot] { slot->clear(); });
  shared_->wait_finished(std::chrono::milliseconds(400));
}

inventory::SnapshotPtr Watcher::current() const {
  static const auto kNone = std::make_shared<const inventory::Snapshot>();
  return shared_ ? shared_->published.snapshot() : kNone;
}

WatcherStats Watcher::stats() const {
  if (!shared_) return {};
  WatcherStats stats = shared_->published.stats();
  stats.nvml = shared_->counters->read();
  stats.lane = shared_->lane.stats();
  return stats;
}

}  // namespace kerf::health
