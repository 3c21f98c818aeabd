// From what the rooms count to what the metrics room shows.
#pragma once

#include <string>
#include <vector>

#include "health/watcher.h"
#include "http/server.h"
#include "kubelet/service.h"
#include "metrics/agent_metrics.h"

namespace kerf::agent {

// Registration and socket of each resource, and the kubelet as a whole, put into `into`, whose
// resources `describe` has filled already.
void add_kubelet(const kubelet::Service::ServiceStatus& service, metrics::NodeStatus& into);

// Calls, registrations and list updates.
void add_kubelet(const kubelet::Service& service, metrics::AgentCounters& into);

// Calls into the driver, their errors, and how long one has been hanging.
void add_driver(const health::WatcherStats& watcher, metrics::AgentCounters& into);

metrics::HttpStats http_stats(const http::ServerStats& stats);

}  // namespace kerf::agent
