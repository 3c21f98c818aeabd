#include "metrics/node_status.h"

#include <algorithm>
#include <iterator>

#include "base/clock.h"

namespace kerf::metrics {
namespace {

using enum Severity;

std::string gpu_label(const GpuStatus& gpu) {
  return "GPU " + std::to_string(gpu.index) + " (" + gpu.uuid + ")";
}

void add_driver_problems(const NodeStatus& node, std::vector<Problem>& out) {
  const DriverStatus& driver = node.driver;
  auto because = [&](std::string_view text) {
    return std::string(text) + (driver.detail.empty() ? "" : ": ") + driver.detail;
  };
  switch (driver.state) {
    case DriverState::kReady:
      return;
    case DriverState::kAbsent:
      if (node.driver_was_ready) {
        out.push_back({kFailed, because("the NVIDIA driver is gone"), driver.library,
                       "Load the driver again (modules nvidia and nvidia_uvm); GPUs come back "
                       "without a restart."});
      } else {
        out.push_back({node.fail_on_init_error ? kFailed : kWaiting,
                       because("no NVIDIA driver found"), driver.library,
                       "Install the NVIDIA driver on this node, or check --driver-root-ctr-path "
                       "and the mount behind it; it is picked up when it appears."});
      }
      return;
    case DriverState::kFailed:
      out.push_back({kFailed, because("the NVIDIA driver fails"), driver.library,
                     "Look for NVRM or Xid lines in the node's kernel log; reload the driver or "
                     "reboot the node."});
      return;
    case DriverState::kStuck:
      out.push_back({kFailed, because("the NVIDIA driver does not answer"), driver.library,
                     "A call into the driver hangs. Look for Xid lines in the node's kernel log; "
                     "usually only a reboot of the node helps."});
      return;
  }
}

void add_gpu_problems(const NodeStatus& node, std::vector<Problem>& out) {
  auto sick = [](const GpuStatus& gpu) { return !gpu.health.ok; };
  bool all = !node.gpus.empty() && std::all_of(node.gpus.begin(), node.gpus.end(), sick);
  for (const GpuStatus& gpu : node.gpus) {
    if (sick(gpu)) {
      std::string why = gpu.health.detail.empty() ? gpu.health.reason : gpu.health.detail;
      out.push_back({all ? kFailed : kDegraded, "GPU is unhealthy: " + why, gpu_label(gpu),
                     "Its slices take no new pods. Drain the node, then reset the GPU "
                     "(nvidia-smi --gpu-reset) or reboot."});
      continue;
    }
    for (const MigStatus& mig : gpu.mig_devices) {
      if (mig.health.ok) continue;
      std::string why = mig.health.detail.empty() ? mig.health.reason : mig.health.detail;
      out.push_back({kDegraded, "MIG device is unhealthy: " + why,
                     gpu_label(gpu) + ", " + mig.profile + " (" + mig.uuid + ")",
                     "Its slices take no new pods. End the pods that use it and create the MIG "
                     "device again."});
    }
  }
}

void add_kubelet_problems(const NodeStatus& node, std::vector<Problem>& out) {
  if (node.kubelet.socket.empty() || !node.started) return;
  bool any = false;
  for (const ResourceStatus& resource : node.resources) {
    if (resource.registered) continue;
    any = true;
    out.push_back({kDegraded,
                   "resource is not registered with the kubelet" +
                       (resource.last_error.empty() ? "" : ": " + resource.last_error),
                   resource.name,
                   "Check that the kubelet runs and that " + node.kubelet.socket +
                       " is the socket it listens on; registration is tried again by itself."});
  }
  if (!node.kubelet.connected && !any && !node.kubelet.detail.empty()) {
    out.push_back(
        {kDegraded, "the kubelet is not there: " + node.kubelet.detail, node.kubelet.socket,
         "Check that the kubelet runs and that its device-plugins directory is mounted."});
  }
}

}  // namespace

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::kWaiting:
      return "waiting";
    case Severity::kDegraded:
      return "degraded";
    case Severity::kFailed:
      return "failed";
  }
  return "failed";
}

std::string_view to_string(DriverState state) {
  switch (state) {
    case DriverState::kAbsent:
      return "absent";
    case DriverState::kReady:
      return "ready";
    case DriverState::kFailed:
      return "failed";
    case DriverState::kStuck:
      return "stuck";
  }
  return "failed";
}

std::string_view to_string(UseSource source) {
  return source == UseSource::kAllocate ? "allocate" : "podresources";
}

std::string_view to_string(SliceState state) {
  switch (state) {
    case SliceState::kFree:
      return "free";
    case SliceState::kInUse:
      return "in_use";
    case SliceState::kUnhealthy:
      return "unhealthy";
  }
  return "unhealthy";
}

std::string_view to_string(EventLevel level) {
  switch (level) {
    case EventLevel::kInfo:
      return "info";
    case EventLevel::kWarn:
      return "warn";
    case EventLevel::kError:
      return "error";
  }
  return "error";
}

std::string owner_text(const SliceUse& use) {
  if (!use.pod.empty()) {
    std::string text = use.pod_namespace.empty() ? use.pod : use.pod_namespace + "/" + use.pod;
    return use.container.empty() ? text : text + " (" + use.container + ")";
  }
  if (use.since_ms <= 0) return "allocated";
  return "allocated " + rfc3339_ms(use.since_ms).substr(11, 8) + " UTC";
}

std::size_t GpuStatus::in_use() const {
  return static_cast<std::size_t>(
      std::count_if(slices.begin(), slices.end(), [](const auto& s) { return s.use.has_value(); }));
}

std::vector<Problem> problems_of(const NodeStatus& node) {
  std::vector<Problem> out;
  add_driver_problems(node, out);
  if (node.driver.state == DriverState::kReady && node.started && node.gpus.empty()) {
    out.push_back({kWaiting, "the driver is there but has no GPU", node.driver.library,
                   "If this node should have one, check lspci and the node's kernel log."});
  }
  add_gpu_problems(node, out);
  add_kubelet_problems(node, out);
  if (!node.config.last_error.empty()) {
    out.push_back({kDegraded, "the new configuration was refused: " + node.config.last_error,
                   node.config.source,
                   "The one before stays in force. Correct the file; it is read again when it "
                   "changes. kerf config check FILE prints all findings."});
  }
  std::copy(node.problems.begin(), node.problems.end(), std::back_inserter(out));
  // Worst first, otherwise in the order found. (clang 19 rejects libstdc++ 12's stable_sort.)
  std::vector<Problem> sorted;
  for (Severity severity : {kFailed, kDegraded, kWaiting}) {
    std::copy_if(out.begin(), out.end(), std::back_inserter(sorted),
                 [&](const Problem& problem) { return problem.severity == severity; });
  }
  return sorted;
}

std::string_view overall(const std::vector<Problem>& problems) {
  if (problems.empty()) return "ok";
  auto worst =
      std::max_element(problems.begin(), problems.end(),
                       [](const Problem& a, const Problem& b) { return a.severity < b.severity; });
  return to_string(worst->severity);
}

bool has_failed(const std::vector<Problem>& problems) {
  return std::any_of(problems.begin(), problems.end(),
                     [](const Problem& p) { return p.severity == kFailed; });
}

std::string not_ready_reason(const NodeStatus& node) {
  if (!node.started) return "starting";
  if (node.resources.empty()) {
    if (node.driver_was_ready && node.driver.state != DriverState::kReady) {
      return "the driver has gone";
    }
    if (!node.fail_on_init_error || node.driver.state == DriverState::kReady) return {};
    return "no NVIDIA driver found";
  }
  if (node.kubelet.socket.empty()) return {};
  for (const ResourceStatus& resource : node.resources) {
    if (!resource.registered) return resource.name + " is not registered with the kubelet";
  }
  return {};
}

}  // namespace kerf::metrics
