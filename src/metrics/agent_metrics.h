// The agent's own metrics: from plain values to metric families. `docs/metrics.md` describes each;
// a test keeps the two equal.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "metrics/exposition.h"
#include "metrics/node_status.h"
#include "metrics/process_stats.h"

namespace kerf::metrics {

// What happened to one kind of device-plugin call (Allocate or GetPreferredAllocation) of one
// resource. `duration` covers all calls, failed ones too; its total is the number of calls.
struct CallStats {
  std::string resource;
  HistogramValue duration;
  std::map<std::string, std::uint64_t> errors;  // by gRPC code word: "invalid_argument"
};

struct RegistrationStats {
  std::string resource;
  std::uint64_t ok = 0;
  std::uint64_t failed = 0;
  std::uint64_t list_updates = 0;  // device lists sent on open ListAndWatch streams
};

struct NvmlStats {
  std::uint64_t calls = 0;
  std::map<std::string, std::uint64_t> errors;  // by error word: "gpu_is_lost"
  std::uint64_t timeouts = 0;                   // calls that were given up at their deadline
  double stuck_seconds = 0;   // for how long a call has been past its deadline; 0 when none is
  unsigned watched_gpus = 0;  // whose events we wait for now
};

// How often the driver reported an XID of a GPU, those included that do not make it unhealthy.
struct XidStats {
  std::string uuid;  // empty when the driver did not say which GPU
  std::uint64_t xid = 0;
  std::uint64_t count = 0;
  std::int64_t last_ms = 0;  // the newest one; since the epoch
};

struct ConfigStats {
  std::uint64_t reloads = 0;         // configurations put in force after the first
  std::uint64_t failures = 0;        // configurations refused
  std::int64_t last_success_ms = 0;  // since the epoch, the first one included; 0 when none
  bool last_ok = true;               // whether the newest configuration is the one in force
};

struct HttpStats {
  std::map<int, std::uint64_t> responses;  // by status code
  std::uint64_t refused = 0;               // connections closed at once because too many were open
  std::uint64_t connections = 0;           // open now
  std::uint64_t streams = 0;               // of them, live-update streams
};

// Everything that is counted rather than read off the node's state.
struct AgentCounters {
  std::string compatibility;  // "v0.17.2 ... v0.20.0"
  // Whether this process is the device plugin: one that runs other components alone says nothing of
  // devices, so that sums over all processes of a node count them once.
  bool advertises = true;
  std::vector<CallStats> allocate;   // one a resource
  std::vector<CallStats> preferred;  // one a resource
  std::vector<RegistrationStats> registrations;
  NvmlStats nvml;
  std::vector<XidStats> xids;  // one a GPU and XID
  ConfigStats config;
  HttpStats http;
};

// All families, always in the same order and always all of them. Pure.
std::vector<Family> agent_metrics(const NodeStatus& node, const AgentCounters& counters,
                                  const ProcessStats& process);

// A word for a gRPC status code: 3 → "invalid_argument". Unknown
// numbers give "unknown". Source: gRPC core concepts, "Status codes".
std::string_view grpc_code_word(int code);

}  // namespace kerf::metrics
