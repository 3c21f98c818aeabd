#include "nvml/lane.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "nvml/thread.h"

namespace kerf::nvml {

namespace {

using Steady = std::chrono::steady_clock;

// One thread may hang and one may carry on in its place; more would only pile up in the driver.
constexpr std::size_t kMaxHung = 2;

struct Ticket {
  enum class Phase { kQueued, kRunning, kDone, kAbandoned };
  std::string subject;
  std::function<void()> work;
  Phase phase = Phase::kQueued;
  Steady::time_point started;
};
using TicketPtr = std::shared_ptr<Ticket>;

}  // namespace

// Shared by the lane and its threads, so that a thread that comes back late finds everything alive.
struct Lane::State : std::enable_shared_from_this<State> {
  std::string name;
  std::function<void()> on_return;

  std::mutex mutex;
  std::condition_variable for_callers;
  std::condition_variable for_worker;
  std::deque<TicketPtr> queue;
  std::vector<TicketPtr> hung;
  bool has_worker = false;  // a thread that is not hung
  unsigned threads = 0;     // all of them
  bool stopped = false;
  std::function<void()> last;  // set by stop
  LaneStats counts;

  // Starts a thread when there is none to take the next call and one more may hang.
  Status ensure_worker();
  void work_loop();
  // Runs one ticket outside the lock. False when this thread has been replaced meanwhile.
  bool run_one(std::unique_lock<std::mutex>& lock, const TicketPtr& ticket);
  bool hangs(std::string_view subject) const;
};

bool Lane::State::hangs(std::string_view subject) const {
  return std::any_of(hung.begin(), hung.end(),
                     [&](const TicketPtr& ticket) { return ticket->subject == subject; });
}

Status Lane::State::ensure_worker() {
  if (has_worker || hung.size() >= kMaxHung) return {};
  Status started = start_detached(name, [keep = shared_from_this()] { keep->work_loop(); });
  if (!started) return started;
  has_worker = true;
  ++threads;
  if (!hung.empty()) ++counts.replaced;
  return {};
}

bool Lane::State::run_one(std::unique_lock<std::mutex>& lock, const TicketPtr& ticket) {
  ticket->phase = Ticket::Phase::kRunning;
  ticket->started = Steady::now();
  lock.unlock();
  ticket->work();
  ticket->work = nullptr;  // what it captured is released here, not by whoever waits
  lock.lock();
  if (ticket->phase != Ticket::Phase::kAbandoned) {
    ticket->phase = Ticket::Phase::kDone;
    for_callers.notify_all();
    return true;
  }
  std::erase(hung, ticket);
  bool replaced = has_worker;
  if (!replaced) has_worker = true;
  if (on_return && !stopped) {
    lock.unlock();
    on_return();
    lock.lock();
  }
  return !replaced;
}

void Lane::State::work_loop() {
  std::unique_lock lock(mutex);
  bool current = true;
  while (current) {
    for_worker.wait(lock, [&] { return stopped || !queue.empty(); });
    if (stopped) break;
    TicketPtr ticket = std::move(queue.front());
    queue.pop_front();
    current = run_one(lock, ticket);
  }
  if (current) has_worker = false;
  if (stopped && last) {
    std::function<void()> work = std::move(last);
    last = nullptr;
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
  --threads;
  for_callers.notify_all();
}

Lane::Lane(std::string thread_name, std::function<void()> on_return)
    : state_(std::make_shared<State>()) {
  state_->name = std::move(thread_name);
  state_->on_return = std::move(on_return);
}

Lane::~Lane() { stop(std::chrono::milliseconds(0)); }

Status Lane::run(std::string_view subject, std::chrono::milliseconds limit,
                 std::function<void()> work) {
  const Steady::time_point deadline = Steady::now() + limit;
  State& state = *state_;
  auto ticket = std::make_shared<Ticket>();
  ticket->subject = subject;
  ticket->work = std::move(work);

  std::unique_lock lock(state.mutex);
  if (state.stopped) return fail(Kind::kGone, "the driver lane is stopped", ticket->subject);
  ++state.counts.calls;
  if (state.hangs(subject) || (!state.has_worker && state.hung.size() >= kMaxHung)) {
    ++state.counts.refused;
    return fail(Kind::kTimeout, "an earlier call into the driver still hangs", ticket->subject,
                "see the kernel log; if it lasts, drain and reboot the node");
  }
  if (Status started = state.ensure_worker(); !started) return started;
  state.queue.push_back(ticket);
  state.for_worker.notify_one();
  state.for_callers.wait_until(
      lock, deadline, [&] { return ticket->phase == Ticket::Phase::kDone || state.stopped; });
  if (ticket->phase == Ticket::Phase::kDone) return {};
  if (state.stopped) return fail(Kind::kGone, "the driver lane was stopped", ticket->subject);

  ++state.counts.timeouts;
  if (ticket->phase == Ticket::Phase::kRunning) {
    ticket->phase = Ticket::Phase::kAbandoned;
    state.hung.push_back(ticket);
    state.has_worker = false;
    // Others may be waiting behind the call that hangs; without a thread they run into their own
    // deadlines.
    if (!state.queue.empty()) static_cast<void>(state.ensure_worker());
  } else {
    std::erase(state.queue, ticket);
  }
  return fail(Kind::kTimeout,
              "the driver did not answer within " + std::to_string(limit.count()) + " ms",
              ticket->subject, "see the kernel log; if it lasts, drain and reboot the node");
}

bool Lane::stop(std::chrono::milliseconds limit, std::function<void()> last) {
  State& state = *state_;
  std::deque<TicketPtr> dropped;
  std::unique_lock lock(state.mutex);
  if (!state.stopped) {
    state.last = std::move(last);
    // A lane that was never used has no thread to run the last work on, and none is needed then.
    state.stopped = true;
    dropped.swap(state.queue);
    state.for_worker.notify_all();
    state.for_callers.notify_all();
  }
  return state.for_callers.wait_until(lock, Steady::now() + limit,
                                      [&] { return state.threads == 0; });
}

LaneStats Lane::stats() const {
  std::lock_guard lock(state_->mutex);
  LaneStats stats = state_->counts;
  stats.hung = static_cast<unsigned>(state_->hung.size());
  Steady::time_point now = Steady::now();
  for (const TicketPtr& ticket : state_->hung) {
    std::chrono::duration<double> age = now - ticket->started;
    stats.stuck_seconds = std::max(stats.stuck_seconds, age.count());
  }
  return stats;
}

bool Lane::hangs(std::string_view subject) const {
  std::lock_guard lock(state_->mutex);
  return state_->hangs(subject);
}

}  // namespace kerf::nvml
