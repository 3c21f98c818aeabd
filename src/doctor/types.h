// What the doctor is told of a node and of a cluster, and what it says about it. Values only: who
// fills them is in look.h, who judges them in node_checks.h and cluster_checks.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "host/pci.h"

namespace kerf::doctor {

enum class Severity {
  kOk,       // as it should be
  kSkipped,  // could not be looked at, which says nothing
  kWarning,  // GPUs are given out, but not all, or not for long
  kError,    // keeps pods from getting GPUs
};
// "ok", "skip", "warn", "error"
std::string_view to_string(Severity severity);

// One thing that was looked at.
struct Finding {
  Severity severity = Severity::kOk;
  std::string check;   // word for machines, the same in every release: "module.nvidia_uvm"
  std::string what;    // what was found, for people; no trailing period
  std::string remedy;  // what to do, a whole sentence; empty when there is nothing to do

  bool operator==(const Finding&) const = default;
};
using Findings = std::vector<Finding>;

// --- a node, seen from inside --------------------------------------------------------------------

// What the agent on the node says of itself.
struct AgentFacts {
  std::string unreachable;  // why it does not answer; empty when it does, and the rest counts
  std::string status;       // "ok", "waiting", "degraded", "failed"
  std::vector<Finding> problems;
  struct Resource {
    std::string name;
    std::size_t total = 0;
    std::size_t healthy = 0;
    bool registered = false;
  };
  std::vector<Resource> resources;
};

struct NodeFacts {
  bool talos = false;
  // Names of the system extensions of a Talos node; absent when the node does not tell.
  std::optional<std::vector<std::string>> extensions;
  std::optional<std::vector<std::string>> modules;  // loaded ones; absent: cannot be read
  std::string modules_problem;                      // why not
  std::vector<host::PciGpu> gpus;
  std::vector<std::string> control_nodes;  // "nvidiactl", as host::control_nodes()
  unsigned gpu_nodes = 0;                  // device nodes of GPUs: nvidia0, nvidia1, …
  std::string driver_problem;              // why NVML does not answer; empty when it does
  std::string driver_version;
  std::size_t driver_gpus = 0;   // that NVML lists
  std::string plugin_directory;  // the kubelet's, as it was looked for
  bool plugin_directory_there = false;
  std::string plugin_directory_problem;  // why nothing can be said of it; empty when something can
  bool kubelet_socket_there = false;
  std::vector<std::string> plugin_sockets;  // names of sockets of GPU plugins in it
  AgentFacts agent;
};

// --- a cluster, seen through its API server ------------------------------------------------------

struct Taint {
  std::string key, value, effect;
};

struct Toleration {
  std::string key, op, value, effect;  // `op` empty: Equal
};

// One requirement on a node's label: key, In | NotIn | Exists | DoesNotExist | Gt | Lt, values.
struct Requirement {
  std::string key, op;
  std::vector<std::string> values;
};
// All requirements of a term must hold; one term of several is enough.
using Term = std::vector<Requirement>;

using Amounts = std::map<std::string, std::uint64_t>;  // by resource; those of NVIDIA only

struct NodeObject {
  std::string name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::vector<Taint> taints;
  bool unschedulable = false;
  bool ready = false;
  std::string os_image;
  Amounts capacity, allocatable;
};

// What a container did last.
struct ContainerState {
  std::string name;
  unsigned restarts = 0;
  std::string waiting;      // reason it waits: "CrashLoopBackOff", "ImagePullBackOff"
  std::string message;      // of waiting
  std::string last_reason;  // how it ended before: "Error", "OOMKilled"
  int last_exit = 0;
  std::string last_message;  // its termination message: the last lines of its log
};

struct PodObject {
  std::string name_space, name, node, phase, reason, message;
  std::string unscheduled;  // the scheduler's words while it finds no node
  std::vector<ContainerState> containers;
  Amounts requests;
};

struct DaemonSetObject {
  std::string name_space, name;
  std::map<std::string, std::string> pod_labels;  // by which its pods are selected
  Term selector;                                  // from nodeSelector
  std::vector<Term> affinity;                     // empty: none
  std::vector<Toleration> tolerations;
  std::string runtime_class;            // "" for none
  unsigned desired = 0, ready = 0;      // pods
  std::vector<std::string> complaints;  // newest Warning events about it: "FailedCreate: …"
};

struct ClusterFacts {
  std::string server;                    // whom was asked
  std::vector<std::string> not_told;     // each a question that was refused, and why
  std::vector<DaemonSetObject> plugins;  // DaemonSets that are device plugins for GPUs
  bool plugins_known = false;            // the question after them was answered
  std::vector<PodObject> plugin_pods;    // of `plugins`
  std::vector<NodeObject> nodes;         // the one asked for, or all
  bool one_node = false;                 // one was asked for
  std::optional<std::vector<std::string>> runtime_classes;  // names; absent: not told
  std::optional<std::vector<PodObject>>
      gpu_pods;  // unfinished pods that ask for GPUs; absent: not told
};

}  // namespace kerf::doctor
