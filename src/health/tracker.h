// Which GPUs and MIG devices must not be given to new containers, and why. A state machine: facts
// go in, marks come out. No threads, no clock (the time comes with each fact), no driver.
//
// Recovery: a GPU that was lost, hung or failed to answer is healthy again when a reading answers
// for it. What an XID did ends, by its action, when the GPU has been quiet for a while or when it
// was reset: it was lost and came back, the driver was loaded anew, or the driver no longer asks
// for a recovery action that it asked for before. So does what a condition did, each in its way.
// The quiet time doubles for a GPU that fails again soon after it recovered. And clear() ends it
// all.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "health/conditions.h"
#include "health/memory.h"
#include "health/settings.h"
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
  explicit Tracker(Settings settings = {}) : settings_(std::move(settings)) {}
  explicit Tracker(XidPolicy policy) { settings_.policy = std::move(policy); }

  const XidPolicy& policy() const { return settings_.policy; }
  const Settings& settings() const { return settings_; }
  // From now on these; marks that they would not have set are taken back.
  void configure(Settings settings);

  // Marks what the event concerns: the GPU and with it all its MIG devices; with a GPU or compute
  // instance only the MIG devices that match; without a known GPU every GPU. Ignored XIDs and GPUs
  // that were never read change nothing.
  void on_xid(const XidEvent& event, std::int64_t now_ms);

  // The driver reports an uncorrectable memory error, without an XID or beside one; an XID that
  // tells of it decides alone.
  void on_double_bit(const std::string& gpu, std::int64_t now_ms);

  // What the GPUs say about themselves. The first word on a GPU is what later ones are compared to:
  // errors counted before and links that were never up are no trouble.
  void on_conditions(const std::vector<Conditions>& all, std::int64_t now_ms);

  // Time passes: takes back the marks of GPUs that have been quiet for long enough.
  void on_time(std::int64_t now_ms);

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

  // Takes marks of XIDs and conditions back: of one GPU or MIG device, or of all with "".
  void clear(std::string_view uuid = "");

  // What the driver says only once, for the next agent; its epoch is left empty. recall() takes it
  // up, once the GPUs were read: what is not there any more is left out, what the settings do not
  // want as well, and quiet times begin anew. Marks that are there already stay.
  Memory remember() const;
  void recall(const Memory& memory, std::int64_t now_ms);

  // The snapshot with every mark set, and no others.
  inventory::Snapshot apply(inventory::Snapshot snapshot) const;

 private:
  // In order of precedence: the first that holds is shown.
  enum class Reason {
    kGpuLost,
    kNvmlStuck,
    kQueryFailed,
    kXidReset,  // until a reset
    kEcc,       // until a reset
    kRowRemap,  // while it is so
    kXid,       // these until it is quiet
    kNvlink,
    kThermal,
    kFlapping,
  };
  static bool ends_by_quiet(Reason reason) { return reason >= Reason::kXid; }
  static bool is_by_reading(Reason reason) { return reason <= Reason::kQueryFailed; }
  // Not in them: what the next reading or the next look at the conditions tells by itself.
  static constexpr std::array kRemembered = {Reason::kXidReset, Reason::kEcc,
                                             Reason::kXid,      Reason::kNvlink,
                                             Reason::kThermal,  Reason::kFlapping};
  static std::string_view name_of(Reason reason);
  static std::optional<Reason> reason_named(std::string_view name);
  struct Mark {
    inventory::Unhealthy shown;
    std::int64_t last_ms = 0;   // when its cause was last seen
    std::int64_t quiet_ms = 0;  // how long that must be ago
    std::uint64_t xid = 0;      // of the first two kinds of XID mark
  };
  using Marks = std::map<Reason, Mark>;
  struct KnownMig {
    std::string uuid;
    unsigned gpu_instance = 0;
    unsigned compute_instance = 0;
  };
  struct KnownGpu {
    std::string bus_id;
    std::vector<KnownMig> migs;
  };
  // What a GPU said when it was last asked.
  struct Watch {
    std::optional<std::uint64_t> uncorrectable;
    std::map<unsigned, std::string> links;  // that were up, and their other ends
    std::optional<std::int64_t> hot_since_ms;
    bool wants_recovery = false;
  };
  struct Recovery {
    std::int64_t at_ms = 0;
    std::int64_t quiet_ms = 0;  // that was waited for
    unsigned losses = 0;        // times it came back, in quick succession
  };

  Mark& mark(const std::string& uuid, Reason reason, std::string_view word, std::string_view detail,
             std::int64_t now_ms);
  void unmark(const std::string& uuid, Reason reason);
  bool has_mark(const std::string& uuid, Reason reason) const;
  std::vector<std::string> with_migs(const std::string& gpu) const;
  bool is_present(const std::string& device) const;
  void drop_unwanted();
  void answered(const inventory::Gpu& gpu, std::int64_t now_ms);
  void came_back(const std::string& gpu, std::int64_t now_ms);
  void forget_missing(const inventory::Reading& reading);
  void mark_xid(const std::string& gpu, const XidEvent& event, std::int64_t now_ms);
  void was_reset(const std::string& gpu);
  bool answers(const std::string& gpu) const;
  std::int64_t quiet_time(const std::string& uuid, std::int64_t now_ms) const;
  bool is_told_by_xid(const std::string& gpu, std::int64_t now_ms) const;
  void judge_errors(const Conditions& now, Watch& watch, std::int64_t now_ms);
  void judge_rows(const Conditions& now, std::int64_t now_ms);
  void judge_links(const Conditions& now, Watch& watch, std::int64_t now_ms);
  void judge_heat(const Conditions& now, Watch& watch, std::int64_t now_ms);
  void judge_recovery(const Conditions& now, Watch& watch);
  bool is_down(std::string_view bus_id) const;
  void quiet_marks(const std::string& device, std::int64_t now_ms);
  std::optional<inventory::Unhealthy> shown(const std::string& uuid) const;

  Settings settings_;
  std::map<std::string, Marks> marks_;                     // by uuid of GPU or MIG device
  std::map<std::string, inventory::Unhealthy> unwatched_;  // by uuid of GPU
  std::map<std::string, KnownGpu> known_;                  // every GPU of the last reading
  std::map<std::string, Watch> watches_;                   // by uuid of GPU
  std::map<std::string, std::int64_t> memory_xids_;        // by uuid of GPU, the last one's time
  std::map<std::string, Recovery> recoveries_;             // by uuid of GPU or MIG device
  std::optional<inventory::Unhealthy> driver_stuck_;
  std::optional<inventory::Unhealthy> driver_failed_;
};

}  // namespace kerf::health
