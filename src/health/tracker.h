// Which GPUs and MIG devices must not be given to new containers, and why. A state machine: facts
// go in, marks come out. No threads, no clock (the time comes with each fact), no driver.
//
// Recovery: a GPU that was lost, hung or failed to answer is healthy again when a reading answers
// for it; an XID stays until the GPU was lost and came back, the driver was reloaded, or somebody
// says clear().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "health/xid_policy.h"
#include "inventory/builder.h"
#include "inventory/types.h"

namespace kerf::health {

// An XID as the driver reported it.
struct XidEvent {
  std::string gpu;  // uuid of the physical GPU; empty when the driver would not say which
  std::uint64_t xid = 0;
  std::optional<unsigned> gpu_instance;  // absent: the whole GPU
  std::optional<unsigned> compute_instance;
};

// Times are wall clock, milliseconds since the epoch; they end up in Unhealthy::since_ms.
class Tracker {
 public:
  explicit Tracker(XidPolicy policy = {}) : policy_(std::move(policy)) {}

  const XidPolicy& policy() const { return policy_; }

  // Marks what the event concerns: the GPU and with it all its MIG devices; with a GPU or compute
  // instance only the MIG devices that match; without a known GPU every GPU. Ignored XIDs and GPUs
  // that were never read change nothing.
  void on_xid(const XidEvent& event, std::int64_t now_ms);

  // A reading of the node: its faults are marked, everything else in it has answered.
  void on_reading(const inventory::Reading& reading, std::int64_t now_ms);

  // The GPUs whose events cannot be watched, so that an XID would go unseen; replaces the last word
  // on that.
  struct Unwatched {
    std::string gpu;
    std::string detail;
  };
  void on_watching(const std::vector<Unwatched>& refused, std::int64_t now_ms);

  // The driver as a whole does not answer, until on_driver_answers().
  void on_driver_stuck(std::string_view detail, std::int64_t now_ms);
  // The driver as a whole answers with errors, until it was started anew.
  void on_driver_failed(std::string_view detail, std::int64_t now_ms);
  void on_driver_answers() { driver_stuck_.reset(); }
  // The driver was started anew. With `reloaded` nothing from before holds any more; without, it
  // had only to be asked again, and XID marks stay.
  void on_driver_restarted(bool reloaded);

  // Takes XID marks back: of one GPU or MIG device, or of all with "".
  void clear(std::string_view uuid = "");

  // The snapshot with every mark set, and no others.
  inventory::Snapshot apply(inventory::Snapshot snapshot) const;

 private:
  // In order of precedence: the first that holds is shown.
  enum class Reason { kGpuLost, kNvmlStuck, kQueryFailed, kXid };
  using Marks = std::map<Reason, inventory::Unhealthy>;
  struct KnownMig {
    std::string uuid;
    unsigned gpu_instance = 0;
    unsigned compute_instance = 0;
  };

  void mark(const std::string& uuid, Reason reason, std::string_view word, std::string_view detail,
            std::int64_t now_ms);
  void unmark(const std::string& uuid, Reason reason);
  void answered(const inventory::Gpu& gpu);
  void forget_missing(const inventory::Reading& reading);
  void mark_xid(const std::string& gpu, const XidEvent& event, std::int64_t now_ms);
  std::optional<inventory::Unhealthy> shown(const std::string& uuid) const;

  XidPolicy policy_;
  std::map<std::string, Marks> marks_;                     // by uuid of GPU or MIG device
  std::map<std::string, inventory::Unhealthy> unwatched_;  // by uuid of GPU
  std::map<std::string, std::vector<KnownMig>> known_;     // every GPU of the last reading
  std::optional<inventory::Unhealthy> driver_stuck_;
  std::optional<inventory::Unhealthy> driver_failed_;
};

}  // namespace kerf::health
