#include "agent/node.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "agent/status.h"
#include "base/log.h"
#include "base/strings.h"
#include "config/dump.h"
#include "inventory/differ.h"
#include "plan/plan.h"

namespace kerf::agent {
namespace {

metrics::EventLevel level_of(inventory::Change::What what) {
  using What = inventory::Change::What;
  return what == What::kUnhealthy || what == What::kRemoved ? metrics::EventLevel::kWarn
                                                            : metrics::EventLevel::kInfo;
}

// A change as a sentence for the list of events.
std::string sentence(const inventory::Change& change) {
  using What = inventory::Change::What;
  switch (change.what) {
    case What::kDriver:
      return "Driver " + change.text;
    case What::kAdded:
      return change.text + " " + change.subject + " appeared";
    case What::kRemoved:
      return change.text + " " + change.subject + " disappeared";
    case What::kUnhealthy:
      return change.subject + " is unhealthy, " + change.text;
    case What::kRecovered:
      return change.subject + " is healthy again, " + change.text;
    case What::kChanged:
      return change.subject + " changed: " + change.text;
    case What::kLinks:
      return "Links read: " + change.text;
  }
  return change.text;
}

std::string_view advertising(const plan::Resource& resource) {
  if (!resource.mps.empty()) return "advertising with MPS";
  return resource.shared ? "advertising with time-slicing" : "advertising";
}

// For whoever greps a log of which only the last lines are left.
std::string_view sharing(const plan::PlanPtr& plan, std::string_view resource) {
  const plan::Resource* found = plan ? plan::find_resource(*plan, resource) : nullptr;
  return found == nullptr ? "none" : plan::sharing_of(*found);
}

// One line a resource, so that "is time-slicing on, and how" can be grepped from the log.
void log_plan(const plan::Plan& plan) {
  for (const plan::Resource& resource : plan.resources) {
    std::size_t healthy = static_cast<std::size_t>(
        std::ranges::count_if(resource.devices, [](const auto& device) { return device.healthy; }));
    log::info(
        "plan", advertising(resource),
        {{"resource", resource.name}, {"devices", resource.devices.size()}, {"healthy", healthy}});
  }
  for (const std::string& warning : plan.warnings) log::warn("plan", warning);
}

void log_found(const inventory::Snapshot& snapshot) {
  for (const inventory::Gpu& gpu : snapshot.gpus) {
    log::info("inventory", "found GPU",
              {{"index", gpu.index},
               {"uuid", gpu.uuid},
               {"name", gpu.name},
               {"pci", gpu.pci_bus_id},
               {"mig_devices", gpu.mig_devices.size()}});
  }
}

}  // namespace

Node::Node(const Clock& clock, std::string version)
    : clock_(clock), version_(std::move(version)), started_ms_(clock.wall_ms()) {}

Status Node::configure(const config::Effective& effective, const std::string& source) {
  if (Status planned = replan(effective.config); !planned) {
    refuse(planned.error());
    return planned;
  }
  bool first = !std::exchange(configured_, true);
  effective_ = effective;
  config_source_ = source;
  config_error_.clear();
  config_stats_.last_ok = true;
  config_stats_.last_success_ms = clock_.wall_ms();
  const std::vector<std::string>& components = effective.process.components;
  const bool labels = std::ranges::find(components, "labels") != components.end();
  log::info("config", "Running with config: " + config::dump(effective.config, labels));
  if (!first) {
    ++config_stats_.reloads;
    note(metrics::EventLevel::kInfo, "Configuration reloaded from " + source);
  }
  return {};
}

void Node::refuse(const Error& error) {
  config_error_ = error.text();
  config_stats_.last_ok = false;
  ++config_stats_.failures;
  note(metrics::EventLevel::kError,
       "Configuration refused, the one before stays in force: " + config_error_);
}

void Node::observe(inventory::SnapshotPtr snapshot) {
  inventory::SnapshotPtr before = std::exchange(snapshot_, std::move(snapshot));
  driver_was_ready_ |= snapshot_->driver.state == inventory::DriverState::kReady;
  // The log has them from whoever made the snapshot, except for what was there from the beginning.
  if (!before) log_found(*snapshot_);
  note_changes(before ? *before : inventory::Snapshot(), *snapshot_);
  if (!configured_) return;
  Status planned = replan(effective_.config);
  plan_error_ = planned ? "" : planned.error().text();
  if (!planned) {
    log::error("plan", "cannot plan for what was found", planned.error());
    note(metrics::EventLevel::kError, "The devices found cannot be advertised: " + plan_error_);
  }
}

Status Node::replan(const config::Config& config) {
  if (!snapshot_) return {};
  Result<plan::Plan> next = plan::make_plan(snapshot_, config, generation_ + 1);
  if (!next) return fail(std::move(next.error()));
  ++generation_;
  const Held before = std::exchange(held_, closed_gates(*next));
  for (plan::Resource& resource : next->resources) {
    if (auto why = held_.find(resource.name); why != held_.end()) {
      plan::hold_back(resource, why->second.text());
    }
  }
  note_gates(before);
  bool same = plan_ && plan_->resources == next->resources && plan_->warnings == next->warnings;
  plan_ = std::make_shared<const plan::Plan>(std::move(*next));
  if (!same) log_plan(*plan_);
  ledger_.keep_only(advertised_ids());
  return {};
}

Node::Held Node::closed_gates(const plan::Plan& plan) const {
  Held out;
  for (const plan::Resource& resource : plan.resources) {
    if (resource.mps.empty() || !gate_) continue;
    if (std::optional<Error> why = gate_(resource.name)) out.emplace(resource.name, *why);
  }
  return out;
}

bool Node::ask_gate() {
  if (!plan_ || !configured_) return false;
  auto texts = [](const Held& held) {
    std::vector<std::string> out;
    for (const auto& [resource, why] : held) out.push_back(resource + why.text());
    return out;
  };
  if (texts(closed_gates(*plan_)) == texts(held_)) return false;
  return replan(effective_.config).has_value();
}

void Node::note_gates(const Held& before) {
  for (const auto& [resource, why] : held_) {
    if (!before.contains(resource)) {
      note(metrics::EventLevel::kWarn, resource + " takes no new pods: " + why.what);
    }
  }
  for (const auto& [resource, why] : before) {
    if (!held_.contains(resource)) {
      note(metrics::EventLevel::kInfo, resource + " takes pods, its MPS daemon answers");
    }
  }
}

void Node::note_changes(const inventory::Snapshot& before, const inventory::Snapshot& after) {
  for (const inventory::Change& change : inventory::diff(before, after)) {
    if (change.what == inventory::Change::What::kLinks) continue;
    note(level_of(change.what), sentence(change));
  }
}

std::vector<std::string> Node::advertised_ids() const {
  std::vector<std::string> ids;
  for (const plan::Resource& resource : plan_->resources) {
    for (const plan::Device& device : resource.devices) ids.push_back(device.id);
  }
  return ids;
}

void Node::allocated(std::string_view resource, std::span<const std::string_view> ids,
                     const Error* error) {
  std::string what = join(ids, ", ") + " of " + std::string(resource);
  if (error != nullptr) {
    log::warn("kubelet", "allocation refused", {{"resource", resource}, {"err", error->text()}});
    note(metrics::EventLevel::kWarn, "Refused " + what + ": " + error->text());
    return;
  }
  log::info(
      "kubelet", "allocated",
      {{"resource", resource}, {"ids", join(ids, ",")}, {"sharing", sharing(plan_, resource)}});
  ledger_.allocated(ids, clock_.wall_ms());
  note(metrics::EventLevel::kInfo, "Gave out " + what);
}

void Node::available(std::string_view resource, std::span<const std::string_view> ids) {
  if (!plan_) return;
  const plan::Resource* found = plan::find_resource(*plan_, resource);
  if (found == nullptr) return;
  std::vector<std::string_view> healthy;
  healthy.reserve(found->devices.size());
  for (const plan::Device& device : found->devices) {
    if (device.healthy) healthy.push_back(device.id);
  }
  ledger_.available(healthy, ids, clock_.wall_ms());
}

void Node::pod_resources(std::span<const ContainerDevices> containers, std::int64_t asked_ms) {
  ledger_.pod_resources(containers, asked_ms, clock_.wall_ms());
  if (plan_) ledger_.keep_only(advertised_ids());
}

void Node::note(metrics::EventLevel level, std::string text) {
  if (events_.size() == metrics::kMaxEvents) events_.pop_front();
  events_.push_back({clock_.wall_ms(), level, std::move(text)});
}

metrics::NodeStatus Node::status() const {
  metrics::NodeStatus out;
  out.version = version_;
  out.node = effective_.process.node_name;
  out.now_ms = clock_.wall_ms();
  out.started_ms = started_ms_;
  out.started = plan_ != nullptr;
  out.fail_on_init_error = effective_.config.fail_on_init_error;
  out.driver_was_ready = driver_was_ready_;
  if (snapshot_ && plan_) describe(*snapshot_, *plan_, ledger_, out);
  out.config = {config_source_, config_stats_.last_success_ms, config_error_, {}};
  for (const config::Diagnostic& finding : effective_.findings) {
    out.config.warnings.push_back(finding.where() + ": " + finding.message);
  }
  if (plan_) {
    out.config.warnings.insert(out.config.warnings.end(), plan_->warnings.begin(),
                               plan_->warnings.end());
  }
  for (const auto& [resource, why] : held_) {
    out.problems.push_back({metrics::Severity::kDegraded,
                            resource + " takes no new pods: " + why.what, why.subject,
                            why.hint.empty() ? "" : "Remedy: " + why.hint + "."});
  }
  if (!plan_error_.empty()) {
    out.problems.push_back({metrics::Severity::kDegraded,
                            "the devices found cannot be advertised as configured", plan_error_,
                            "Change the configuration or the devices; what was advertised before "
                            "stays."});
  }
  out.events.assign(events_.begin(), events_.end());
  return out;
}

}  // namespace kerf::agent
