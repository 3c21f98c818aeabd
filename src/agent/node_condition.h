// The condition "NVIDIAGPUHealthy" of the Node object: whether this node's GPUs can be given out,
// for people and for programs that drain or repair nodes. Written only when it changes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "inventory/types.h"
#include "kube/client.h"

namespace kerf::agent {

inline constexpr std::string_view kConditionType = "NVIDIAGPUHealthy";

struct Condition {
  std::string status;   // "True", "False", "Unknown"
  std::string reason;   // "AllGPUsHealthy", "GPUUnhealthy", "DriverLost", "NoDriver", "NoGPU"
  std::string message;  // for people; at most 1000 bytes
  bool operator==(const Condition&) const = default;
};

// What the snapshot says: True when all GPUs are healthy; False when one is not, or the driver
// fails as a whole; Unknown while there is no driver or no GPU. `driver_was_ready`: it has answered
// in the life of this process, so that its absence is a loss. Pure.
Condition condition_of(const inventory::Snapshot& snapshot, bool driver_was_ready);

// The same of a Node object (JSON) with when it last changed, RFC 3339; nullopt when the Node does
// not have it.
struct Stated {
  Condition condition;
  std::string since;
};
std::optional<Stated> stated_condition(std::string_view node);

// A strategic merge patch of nodes/status.
std::string condition_patch(const Condition& condition, const std::string& since,
                            const std::string& now);

// Brings the Node's condition to what was last set, and tries until it is so. Loop thread only.
// Looks now and then whether it still says so: others may have removed or changed it, and a Node
// that was made anew has lost it.
class ConditionWriter {
 public:
  // kube::Client::request, which must be good for the life of this.
  using Send = std::function<void(kube::Request, kube::Answer)>;

  // `changed` when error() is another; `look` is how often it looks.
  ConditionWriter(asio::io_context& loop, const Clock& clock, Send send, std::string node,
                  std::function<void()> changed,
                  std::chrono::milliseconds look = std::chrono::minutes(5));
  ~ConditionWriter();

  void set(Condition condition);
  const std::optional<Error>& error() const { return error_; }
  std::uint64_t written() const { return writes_; }

 private:
  struct Timer;
  void pump();
  void pause_for(std::chrono::milliseconds pause);
  void look_later();
  void read();
  void write(const Condition& wanted);
  void failed(const Error& error);
  void succeeded();

  const Clock& clock_;
  Send send_;
  std::string node_;
  std::function<void()> changed_;
  std::chrono::milliseconds look_;
  std::unique_ptr<Timer> timer_;
  std::optional<Condition> wanted_;
  bool known_ = false;            // what the Node says has been read
  std::optional<Stated> stated_;  // what the Node says
  bool busy_ = false;
  unsigned attempts_ = 0;
  std::uint64_t writes_ = 0;
  std::optional<Error> error_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kerf::agent
