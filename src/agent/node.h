// What the agent knows about this node, and the plan that follows from it. Two facts come in, the
// configuration and the inventory; whenever one changes a new plan is made, and when that cannot be
// the last good one stays in force. Loop thread only; no effects but log lines.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/ledger.h"
#include "base/clock.h"
#include "base/result.h"
#include "config/load.h"
#include "inventory/types.h"
#include "metrics/agent_metrics.h"
#include "metrics/node_status.h"
#include "plan/types.h"

namespace kerf::agent {

class Node {
 public:
  Node(const Clock& clock, std::string version);

  // What the process was started with, while it is not known yet which configuration is this
  // node's: nothing is planned before configure().
  void prepare(const config::Effective& effective) { effective_ = effective; }
  bool configured() const { return configured_; }

  // Puts a configuration in force. When it contradicts itself or the hardware the error says so,
  // and the one before stays. `source` is where it came from, for people.
  Status configure(const config::Effective& effective, const std::string& source);
  // The newest configuration could not be read or was refused by somebody else.
  void refuse(const Error& error);

  // The node looks like this now.
  void observe(inventory::SnapshotPtr snapshot);

  // The kubelet gave out, or was told to be free, these ids of a resource.
  void allocated(std::string_view resource, std::span<const std::string_view> ids,
                 const Error* error);
  void available(std::string_view resource, std::span<const std::string_view> ids);
  void pod_resources(std::span<const ContainerDevices> containers, std::int64_t asked_ms);
  // Somebody holds a device, as far as is known.
  bool any_in_use() const { return ledger_.size() > 0; }

  // A line for the list of events (and, through the caller's log, for the log).
  void note(metrics::EventLevel level, std::string text);

  // Asked, while a plan is made, for every resource that is shared by MPS: why it must not be given
  // out now; nothing when it may.
  using Gate = std::function<std::optional<Error>(const std::string& resource)>;
  void set_gate(Gate gate) { gate_ = std::move(gate); }
  // Asks the gate again. True when it answered differently, and so the plan is a new one.
  bool ask_gate();

  // Null until both configuration and inventory are known.
  const plan::PlanPtr& plan() const { return plan_; }
  const config::Effective& effective() const { return effective_; }
  const metrics::ConfigStats& config_stats() const { return config_stats_; }

  // Everything but what only kubelet room and process know: resources' registration, kubelet.
  metrics::NodeStatus status() const;

 private:
  using Held = std::map<std::string, Error>;  // by resource: why it is not given out

  Status replan(const config::Config& config);
  Held closed_gates(const plan::Plan& plan) const;
  void note_gates(const Held& before);
  void note_changes(const inventory::Snapshot& before, const inventory::Snapshot& after);
  std::vector<std::string> advertised_ids() const;

  const Clock& clock_;
  std::string version_;
  std::int64_t started_ms_;
  config::Effective effective_;
  std::string config_source_;
  std::string config_error_;
  metrics::ConfigStats config_stats_;
  bool configured_ = false;
  inventory::SnapshotPtr snapshot_;
  bool driver_was_ready_ = false;
  Gate gate_;
  Held held_;
  plan::PlanPtr plan_;
  std::uint64_t generation_ = 0;
  std::string plan_error_;  // why the newest snapshot could not be planned; empty when it could
  Ledger ledger_;
  std::deque<metrics::EventStatus> events_;
};

}  // namespace kerf::agent
