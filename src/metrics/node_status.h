// What the page, `kerf status`, `/health` and most metrics show: one plain value that describes the
// node. The agent fills it from plan, kubelet and inventory; everything downstream only reads it.
// Knows nothing of NVML, HTTP or Prometheus.
//
// All times are milliseconds since the Unix epoch, 0 where unknown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kerf::metrics {

// How bad a problem is. The worst one of a node is the node's status.
enum class Severity {
  kWaiting,   // nothing is wrong with us, something is still to come (no driver yet)
  kDegraded,  // part of the node does not work; restarting the agent would not help
  kFailed,    // the node gives no GPU although it should; `/health` answers 503
};

// "waiting", "degraded", "failed"
std::string_view to_string(Severity severity);

// One thing that is wrong, in words for the person who reads it.
struct Problem {
  Severity severity = Severity::kDegraded;
  std::string what;     // "GPU is unhealthy: Xid 79": no trailing period
  std::string subject;  // the GPU, resource, file or socket concerned; may be empty
  std::string remedy;   // a whole sentence that says what to do; may be empty
  bool operator==(const Problem&) const = default;
};

enum class DriverState { kAbsent, kReady, kFailed, kStuck };

// "absent", "ready", "failed", "stuck"
std::string_view to_string(DriverState state);

struct DriverStatus {
  DriverState state = DriverState::kAbsent;
  std::string version;  // "580.126.09"; empty when unknown
  std::string cuda;     // "13.0"; empty when unknown
  std::string library;  // path of the loaded libnvidia-ml, or empty
  std::string detail;   // why, when not ready
};

// Whether a GPU or MIG device may be given to new containers.
struct HealthStatus {
  bool ok = true;
  std::string reason;  // machine word: "xid", "gpu_lost", …; empty when ok
  std::string detail;  // for people; empty when ok
  std::int64_t since_ms = 0;
};

// Where the knowledge that a slice is in use comes from. The kubelet tells nobody when a container
// ends, so what Allocate reports is "given out since", not "in use now".
enum class UseSource {
  kAllocate,      // seen in an Allocate call; owner unknown
  kPodResources,  // the kubelet's PodResources service: true at the time it was read
};

// "allocate", "podresources"
std::string_view to_string(UseSource source);

// Who holds a slice.
struct SliceUse {
  std::int64_t since_ms = 0;
  UseSource source = UseSource::kAllocate;
  std::string pod_namespace;  // these three are empty when the owner is unknown
  std::string pod;
  std::string container;
};

// "ns/pod (container)" when known, else "allocated 12:03:04 UTC", or "allocated" without a time.
std::string owner_text(const SliceUse& use);

enum class SliceState { kFree, kInUse, kUnhealthy };

// "free", "in_use", "unhealthy"
std::string_view to_string(SliceState state);

// One id the kubelet sees: a replica of a GPU or MIG device, or the device itself when not shared.
struct SliceStatus {
  std::string id;        // "GPU-…::3"
  std::string resource;  // "nvidia.com/gpu"
  std::string mig;       // uuid of the MIG device it is a share of; empty for a whole GPU
  bool healthy = true;
  std::optional<SliceUse> use;

  // Unhealthy wins over in use: no new container can have it, though an old one may still.
  SliceState state() const {
    return !healthy ? SliceState::kUnhealthy : use ? SliceState::kInUse : SliceState::kFree;
  }
};

struct MigStatus {
  std::string uuid;     // "MIG-…"
  std::string profile;  // "1g.10gb"
  std::uint64_t memory_mib = 0;
  HealthStatus health;
};

// What one container uses of one device now, see usage/types.h.
struct PodUse {
  std::string pod_namespace;
  std::string pod;
  std::string container;  // empty when it is not known which
  std::string device;     // "GPU-…" or "MIG-…"
  unsigned shares = 0;    // held: `shares` of `of`; 0 of 0 when it uses what it does not hold
  unsigned of = 0;
  unsigned processes = 0;
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> limit_bytes;
  bool over_limit = false;           // for longer than the watchdog's window
  std::optional<double> busy_ratio;  // of the GPU's time, 0 to 1
  std::optional<double> power_watts;
  double energy_joules = 0;  // since it was first seen
};

// A figure at regular moments, oldest first; a gap is absent.
using Series = std::vector<std::optional<double>>;

// What a GPU does now and did of late.
struct GpuUse {
  std::int64_t sampled_ms = 0;
  std::optional<double> busy_ratio;
  std::optional<double> power_watts;
  std::optional<double> temperature_celsius;
  std::optional<std::uint64_t> memory_used_bytes;
  std::optional<std::uint64_t> memory_total_bytes;
  std::uint64_t memory_host_bytes = 0;   // of processes outside of pods
  std::uint64_t memory_other_bytes = 0;  // of no process
  std::vector<PodUse> pods;              // the greatest user of memory first
  std::int64_t interval_ms = 0;          // between the points of the series
  Series busy;                           // 0 to 1
  Series power;                          // watts
  Series temperature;                    // degrees Celsius
};

struct GpuStatus {
  unsigned index = 0;  // NVML index
  std::string uuid;
  std::string name;
  std::string pci;  // "0000:3b:00.0"
  std::optional<int> numa_node;
  std::optional<std::uint64_t> memory_mib;  // absent on unified-memory parts
  HealthStatus health;
  std::vector<MigStatus> mig_devices;
  std::vector<SliceStatus> slices;  // in the order of the plan; empty when not advertised
  std::optional<GpuUse> use;        // with the component usage, once it has looked

  std::size_t in_use() const;  // slices that somebody holds, healthy or not
};

struct ResourceStatus {
  std::string name;         // "nvidia.com/gpu"
  std::size_t total = 0;    // devices advertised
  std::size_t healthy = 0;  // of them, healthy
  std::size_t in_use = 0;   // of them, held by somebody as far as is known
  std::string sharing;      // "none", "time-slicing", "mps"
  unsigned replicas = 1;    // per GPU or MIG device
  bool registered = false;  // with the kubelet that is there now
  std::int64_t registered_since_ms = 0;
  std::string last_error;  // of the last registration or of serving; empty when fine
  std::string socket;      // path of our socket
};

struct KubeletStatus {
  std::string socket;      // path of the kubelet's registration socket; empty: no kubelet wanted
  bool connected = false;  // its socket exists and every resource is registered there
  std::string detail;      // why not
};

struct ConfigStatus {
  std::string source;               // path of the file, or "defaults"
  std::int64_t last_reload_ms = 0;  // last time a configuration was put in force
  std::string last_error;           // of the newest configuration, when it was refused; else empty
  std::vector<std::string> warnings;
};

enum class EventLevel { kInfo, kWarn, kError };

// "info", "warn", "error"
std::string_view to_string(EventLevel level);

struct EventStatus {
  std::int64_t time_ms = 0;
  EventLevel level = EventLevel::kInfo;
  std::string text;  // a short sentence for people
};

struct NodeStatus {
  std::string version;          // of kerf
  std::string node;             // node name; may be empty
  std::int64_t now_ms = 0;      // when this value was made
  std::int64_t started_ms = 0;  // when the process started
  // True once devices were looked for and everything found was offered to the kubelet once,
  // whatever came of it. Before that the node is not ready.
  bool started = false;
  // As configured: with false, a node without a driver is a node that waits, not a broken one.
  bool fail_on_init_error = true;
  // True once the driver has answered in the life of this process.
  bool driver_was_ready = false;
  DriverStatus driver;
  KubeletStatus kubelet;
  std::vector<GpuStatus> gpus;            // by index
  std::vector<ResourceStatus> resources;  // by name
  ConfigStatus config;
  std::vector<EventStatus> events;  // oldest first, at most kMaxEvents
  // What the agent knows to be wrong beyond what `problems_of` finds in the fields above.
  std::vector<Problem> problems;
};

inline constexpr std::size_t kMaxEvents = 50;

// Everything that is wrong: what can be read off the fields, worst first, then `node.problems`
// merged in by severity. Pure.
std::vector<Problem> problems_of(const NodeStatus& node);

// "ok", or the worst severity's word.
std::string_view overall(const std::vector<Problem>& problems);

// True when `/health` should answer 503: one of the problems is kFailed.
bool has_failed(const std::vector<Problem>& problems);

// What keeps the node from being ready, for `/readyz`; empty when it is. Ready means: everything
// there is to advertise is registered with the kubelet. Having nothing to advertise is ready too if
// that is legitimate (no driver or no GPU, and fail_on_init_error is false).
std::string not_ready_reason(const NodeStatus& node);

}  // namespace kerf::metrics
