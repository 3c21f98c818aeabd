#include "http/status_json.h"

#include <array>

#include "http/json_read.h"
#include "http/json_writer.h"
#include "http/use_json.h"

#include <nlohmann/json.hpp>

namespace kerf::http {
namespace {

using namespace metrics;
using nlohmann::json;

void write_problems(JsonWriter& out, const std::vector<Problem>& problems) {
  out.open('[', "problems");
  for (const Problem& problem : problems) {
    out.open('{')
        .field("severity", to_string(problem.severity))
        .field("what", problem.what)
        .field("subject", problem.subject)
        .field("remedy", problem.remedy)
        .close('}');
  }
  out.close(']');
}

void write_health(JsonWriter& out, const HealthStatus& health) {
  out.open('{', "health")
      .field("ok", health.ok)
      .field("reason", health.reason)
      .field("detail", health.detail)
      .field("since_ms", health.since_ms)
      .close('}');
}

void write_slice(JsonWriter& out, const SliceStatus& slice) {
  out.open('{')
      .field("id", slice.id)
      .field("resource", slice.resource)
      .field("state", to_string(slice.state()));
  if (!slice.mig.empty()) out.field("mig", slice.mig);
  if (slice.use) {
    out.open('{', "use")
        .field("since_ms", slice.use->since_ms)
        .field("source", to_string(slice.use->source))
        .field("namespace", slice.use->pod_namespace)
        .field("pod", slice.use->pod)
        .field("container", slice.use->container)
        .close('}');
  }
  out.close('}');
}

void write_gpu(JsonWriter& out, const GpuStatus& gpu) {
  out.open('{')
      .field("index", gpu.index)
      .field("uuid", gpu.uuid)
      .field("name", gpu.name)
      .field("pci", gpu.pci)
      .field("numa_node", gpu.numa_node)
      .field("memory_mib", gpu.memory_mib);
  write_health(out, gpu.health);
  out.field("replicas", gpu.slices.size()).field("replicas_in_use", gpu.in_use());
  out.open('[', "mig_devices");
  for (const MigStatus& mig : gpu.mig_devices) {
    out.open('{')
        .field("uuid", mig.uuid)
        .field("profile", mig.profile)
        .field("memory_mib", mig.memory_mib);
    write_health(out, mig.health);
    out.close('}');
  }
  out.close(']').open('[', "slices");
  for (const SliceStatus& slice : gpu.slices) write_slice(out, slice);
  out.close(']');
  write_use(out, gpu.use);
  out.close('}');
}

void write_resource(JsonWriter& out, const ResourceStatus& resource) {
  out.open('{')
      .field("name", resource.name)
      .field("total", resource.total)
      .field("healthy", resource.healthy)
      .field("in_use", resource.in_use)
      .field("sharing", resource.sharing)
      .field("replicas", resource.replicas)
      .field("registered", resource.registered)
      .field("registered_since_ms", resource.registered_since_ms)
      .field("last_error", resource.last_error)
      .field("socket", resource.socket)
      .close('}');
}

void write_node(JsonWriter& out, const NodeStatus& node) {
  out.field("version", node.version)
      .field("node", node.node)
      .field("now_ms", node.now_ms)
      .field("started_ms", node.started_ms)
      .field("started", node.started)
      .field("fail_on_init_error", node.fail_on_init_error)
      .field("driver_was_ready", node.driver_was_ready);
  out.open('{', "driver")
      .field("state", to_string(node.driver.state))
      .field("version", node.driver.version)
      .field("cuda", node.driver.cuda)
      .field("library", node.driver.library)
      .field("detail", node.driver.detail)
      .close('}');
  out.open('{', "kubelet")
      .field("socket", node.kubelet.socket)
      .field("connected", node.kubelet.connected)
      .field("detail", node.kubelet.detail)
      .close('}');
}

const json& child(const json& from, const char* key) {
  static const json kNothing;
  if (!from.is_object()) return kNothing;
  auto found = from.find(key);
  return found == from.end() ? kNothing : *found;
}

// Calls `read(element)` for each element of the array at `key`.
template <typename Read>
void each(const json& from, const char* key, Read read) {
  const json& list = child(from, key);
  if (!list.is_array()) return;
  for (const json& element : list) read(element);
}

// The value whose word is at `key`, among `values`.
template <typename E, std::size_t N>
void get_word(const json& from, const char* key, const std::array<E, N>& values, E& to) {
  std::string word;
  get(from, key, word);
  for (E value : values) {
    if (to_string(value) == word) to = value;
  }
}

HealthStatus read_health(const json& from) {
  HealthStatus out;
  get(from, "ok", out.ok);
  get(from, "reason", out.reason);
  get(from, "detail", out.detail);
  get(from, "since_ms", out.since_ms);
  return out;
}

SliceStatus read_slice(const json& from) {
  SliceStatus out;
  get(from, "id", out.id);
  get(from, "resource", out.resource);
  get(from, "mig", out.mig);
  std::string state;
  get(from, "state", state);
  out.healthy = state != to_string(SliceState::kUnhealthy);
  const json& use = child(from, "use");
  if (use.is_object()) {
    SliceUse& held = out.use.emplace();
    get(use, "since_ms", held.since_ms);
    get_word(use, "source", std::array{UseSource::kAllocate, UseSource::kPodResources},
             held.source);
    get(use, "namespace", held.pod_namespace);
    get(use, "pod", held.pod);
    get(use, "container", held.container);
  }
  return out;
}

GpuStatus read_gpu(const json& from) {
  GpuStatus out;
  get(from, "index", out.index);
  get(from, "uuid", out.uuid);
  get(from, "name", out.name);
  get(from, "pci", out.pci);
  get(from, "numa_node", out.numa_node);
  get(from, "memory_mib", out.memory_mib);
  out.health = read_health(child(from, "health"));
  each(from, "mig_devices", [&](const json& element) {
    MigStatus& mig = out.mig_devices.emplace_back();
    get(element, "uuid", mig.uuid);
    get(element, "profile", mig.profile);
    get(element, "memory_mib", mig.memory_mib);
    mig.health = read_health(child(element, "health"));
  });
  each(from, "slices", [&](const json& slice) { out.slices.push_back(read_slice(slice)); });
  out.use = read_use(child(from, "use"));
  return out;
}

ResourceStatus read_resource(const json& from) {
  ResourceStatus out;
  get(from, "name", out.name);
  get(from, "total", out.total);
  get(from, "healthy", out.healthy);
  get(from, "in_use", out.in_use);
  get(from, "sharing", out.sharing);
  get(from, "replicas", out.replicas);
  get(from, "registered", out.registered);
  get(from, "registered_since_ms", out.registered_since_ms);
  get(from, "last_error", out.last_error);
  get(from, "socket", out.socket);
  return out;
}

void read_parts(const json& from, NodeStatus& node) {
  const json& driver = child(from, "driver");
  get_word(driver, "state",
           std::array{DriverState::kAbsent, DriverState::kReady, DriverState::kFailed,
                      DriverState::kStuck},
           node.driver.state);
  get(driver, "version", node.driver.version);
  get(driver, "cuda", node.driver.cuda);
  get(driver, "library", node.driver.library);
  get(driver, "detail", node.driver.detail);
  const json& kubelet = child(from, "kubelet");
  get(kubelet, "socket", node.kubelet.socket);
  get(kubelet, "connected", node.kubelet.connected);
  get(kubelet, "detail", node.kubelet.detail);
  const json& config = child(from, "config");
  get(config, "source", node.config.source);
  get(config, "last_reload_ms", node.config.last_reload_ms);
  get(config, "last_error", node.config.last_error);
  each(config, "warnings", [&](const json& text) {
    if (text.is_string()) node.config.warnings.push_back(text.get<std::string>());
  });
  each(from, "events", [&](const json& element) {
    EventStatus& event = node.events.emplace_back();
    get(element, "time_ms", event.time_ms);
    get_word(element, "level", std::array{EventLevel::kInfo, EventLevel::kWarn, EventLevel::kError},
             event.level);
    get(element, "text", event.text);
  });
  each(from, "problems", [&](const json& element) {
    Problem& problem = node.problems.emplace_back();
    get_word(element, "severity",
             std::array{Severity::kWaiting, Severity::kDegraded, Severity::kFailed},
             problem.severity);
    get(element, "what", problem.what);
    get(element, "subject", problem.subject);
    get(element, "remedy", problem.remedy);
  });
}

}  // namespace

std::string status_json(const NodeStatus& node) {
  auto problems = problems_of(node);
  JsonWriter out;
  out.open('{').field("status", overall(problems)).field("ready", not_ready_reason(node).empty());
  write_node(out, node);
  write_problems(out, problems);
  out.open('[', "resources");
  for (const ResourceStatus& resource : node.resources) write_resource(out, resource);
  out.close(']').open('[', "gpus");
  for (const GpuStatus& gpu : node.gpus) write_gpu(out, gpu);
  out.close(']').open('{', "config");
  out.field("source", node.config.source)
      .field("last_reload_ms", node.config.last_reload_ms)
      .field("last_error", node.config.last_error)
      .open('[', "warnings");
  for (const std::string& warning : node.config.warnings) out.element(warning);
  out.close(']').close('}').open('[', "events");
  for (const EventStatus& event : node.events) {
    out.open('{')
        .field("time_ms", event.time_ms)
        .field("level", to_string(event.level))
        .field("text", event.text)
        .close('}');
  }
  out.close(']').close('}');
  return std::move(out).take();
}

std::string health_json(const NodeStatus& node) {
  auto problems = problems_of(node);
  JsonWriter out;
  out.open('{').field("status", overall(problems)).field("ready", not_ready_reason(node).empty());
  write_problems(out, problems);
  out.close('}');
  return std::move(out).take();
}

Result<RemoteStatus> parse_status(const std::string& text) {
  json root = json::parse(text, nullptr, false);
  if (!root.is_object() || !root.contains("driver") || !root.contains("gpus")) {
    return fail(Kind::kCorrupt, "the answer is not a kerf status", "/api/status",
                "is it really kerf that listens there?");
  }
  RemoteStatus out;
  get(root, "status", out.status);
  NodeStatus& node = out.node;
  get(root, "version", node.version);
  get(root, "node", node.node);
  get(root, "now_ms", node.now_ms);
  get(root, "started_ms", node.started_ms);
  get(root, "started", node.started);
  get(root, "fail_on_init_error", node.fail_on_init_error);
  get(root, "driver_was_ready", node.driver_was_ready);
  read_parts(root, node);
  each(root, "gpus", [&](const json& gpu) { node.gpus.push_back(read_gpu(gpu)); });
  each(root, "resources", [&](const json& r) { node.resources.push_back(read_resource(r)); });
  return out;
}

}  // namespace kerf::http
