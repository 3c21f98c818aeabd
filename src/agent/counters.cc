#include "agent/counters.h"

#include <algorithm>

namespace kerf::agent {
namespace {

metrics::HistogramValue histogram(const kubelet::Histogram& from) {
  metrics::HistogramValue out;
  out.bounds.assign(kubelet::Histogram::kBounds.begin(), kubelet::Histogram::kBounds.end());
  for (std::size_t i = 0; i <= out.bounds.size(); ++i) out.counts.push_back(from.count(i));
  out.sum = from.sum();
  return out;
}

// Every refusal of a plugin is answered with gRPC status UNKNOWN.
std::map<std::string, std::uint64_t> errors(const std::atomic<std::uint64_t>& count) {
  return {{"unknown", count.load()}};
}

}  // namespace

void add_kubelet(const kubelet::Service::ServiceStatus& service, metrics::NodeStatus& into) {
  into.kubelet.socket = service.kubelet_socket;
  into.kubelet.connected = !service.kubelet_socket.empty() && service.ok();
  for (const kubelet::Service::ResourceStatus& from : service.resources) {
    auto to = std::ranges::find(into.resources, from.name, &metrics::ResourceStatus::name);
    if (to == into.resources.end()) continue;
    to->registered = from.registered;
    to->registered_since_ms = from.registered_since_ms;
    to->socket = from.socket;
    if (from.last_error) {
      to->last_error = from.last_error->text();
      into.kubelet.detail = to->last_error;
    }
  }
}

void add_kubelet(const kubelet::Service& service, metrics::AgentCounters& into) {
  for (const auto& [resource, stats] : service.stats()) {
    into.allocate.push_back({resource, histogram(stats->allocate), errors(stats->allocate_errors)});
    into.preferred.push_back(
        {resource, histogram(stats->preferred), errors(stats->preferred_errors)});
    into.registrations.push_back(
        {resource, stats->registrations, stats->registration_failures, stats->updates});
  }
}

void add_driver(const health::WatcherStats& watcher, metrics::AgentCounters& into) {
  into.nvml.calls = watcher.nvml.calls;
  into.nvml.errors = watcher.nvml.errors;
  into.nvml.timeouts = watcher.lane.timeouts;
  into.nvml.stuck_seconds = std::max(watcher.lane.stuck_seconds, watcher.events_overdue_seconds);
  into.nvml.watched_gpus = watcher.watched;
  for (const health::XidCount& from : watcher.xids) {
    into.xids.push_back({from.gpu, from.xid, from.count, from.last_ms});
  }
}

metrics::HttpStats http_stats(const http::ServerStats& stats) {
  metrics::HttpStats out;
  out.responses = stats.responses;
  out.refused = stats.evicted;
  out.connections = stats.connections;
  out.streams = stats.streams;
  return out;
}

}  // namespace kerf::agent
