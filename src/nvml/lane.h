// The call lane: the only way into the driver. Calls run one after the other on a thread of the
// lane's own ("nvml-call"), because a driver can hang for minutes and a hung call cannot be
// cancelled. The caller waits no longer than its deadline; a call that overruns it is abandoned
// together with its thread, and a second thread takes over. When that one hangs too the lane
// refuses calls at once until one of them comes back. What a lane does not do: know NVML.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace kerf::nvml {

struct LaneStats {
  std::uint64_t calls = 0;     // handed to the lane
  std::uint64_t timeouts = 0;  // not answered within their deadline
  std::uint64_t refused = 0;   // not tried, because an earlier call still hangs
  std::uint64_t replaced = 0;  // threads started in place of a hung one
  unsigned hung = 0;           // calls inside the driver past their deadline, now
  double stuck_seconds = 0;    // age of the oldest of them
};

// Any thread may call; each caller waits for its own answer.
class Lane {
 public:
  // `on_return` is called, on a thread of the lane, when a call that had been given up came back.
  explicit Lane(std::string thread_name = "nvml-call", std::function<void()> on_return = {});
  // Stops, waiting for nothing.
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Runs `work`, which returns a Result, on the lane and gives back what it returned. Errors of the
  // lane's own: kTimeout (past the deadline, or the lane is blocked by hung calls, or a hung call
  // has the same subject), kGone (stopped). `subject` names what the call is about ("driver", a
  // GPU's id); while a call on a subject hangs, further calls on it fail at once, so that one bad
  // GPU costs one thread. `work` may outlive the caller: it must own all it uses.
  template <typename Work>
  std::invoke_result_t<Work> call(std::string_view subject, std::chrono::milliseconds limit,
                                  Work work) {
    using Answer = std::invoke_result_t<Work>;
    auto box = std::make_shared<std::optional<Answer>>();
    Status ran =
        run(subject, limit, [box, work = std::move(work)]() mutable { box->emplace(work()); });
    if (!ran) return fail(std::move(ran.error()));
    return std::move(**box);
  }

  // Refuses further calls, wakes all callers and waits up to `limit` for the threads to end. `last`
  // is run on a thread of the lane as the last thing done there; when all of them hang, by the
  // first that comes back. False when some are still inside the driver; they end by themselves when
  // it lets them go. Only the first stop counts.
  bool stop(std::chrono::milliseconds limit, std::function<void()> last = {});

  LaneStats stats() const;
  // Whether a call on this subject hangs now.
  bool hangs(std::string_view subject) const;

 private:
  struct State;
  Status run(std::string_view subject, std::chrono::milliseconds limit, std::function<void()> work);

  std::shared_ptr<State> state_;
};

}  // namespace kerf::nvml
