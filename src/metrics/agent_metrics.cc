#include "metrics/agent_metrics.h"

#include <algorithm>
#include <array>

namespace kerf::metrics {
namespace {

double number(std::uint64_t value) { return static_cast<double>(value); }
double seconds(std::int64_t ms) { return static_cast<double>(ms) / 1000.0; }

class Families {
 public:
  Family& add(std::string name, Type type, std::string help) {
    out_.push_back({std::move(name), std::move(help), type, {}, {}});
    return out_.back();
  }
  void gauge(std::string name, std::string help, double value) {
    add(std::move(name), Type::kGauge, std::move(help)).samples = {{{}, value}};
  }
  void counter(std::string name, std::string help, double value) {
    add(std::move(name), Type::kCounter, std::move(help)).samples = {{{}, value}};
  }
  // Nothing is written for a value that is not known.
  void known(std::string name, Type type, std::string help, std::optional<double> value) {
    Family& family = add(std::move(name), type, std::move(help));
    if (value) family.samples = {{{}, *value}};
  }
  std::vector<Family> take() && { return std::move(out_); }

 private:
  std::vector<Family> out_;
};

void add_node(Families& out, const NodeStatus& node, const AgentCounters& counters) {
  out.add("kerf_build_info", Type::kGauge,
          "The version of kerf and the device plugin releases it is compatible with; always 1.")
      .samples = {{{{"version", node.version}, {"compatibility", counters.compatibility}}, 1}};
  auto problems = problems_of(node);
  Family& family = out.add("kerf_problems", Type::kGauge,
                           "Problems the agent knows of, as listed by /health, by severity.");
  for (Severity severity : {Severity::kWaiting, Severity::kDegraded, Severity::kFailed}) {
    double count = 0;
    for (const Problem& problem : problems) count += problem.severity == severity ? 1 : 0;
    family.samples.push_back({{{"severity", std::string(to_string(severity))}}, count});
  }
  out.gauge("kerf_ready", "1 when everything there is to advertise is registered, as /readyz says.",
            not_ready_reason(node).empty() ? 1 : 0);
}

void add_driver(Families& out, const NodeStatus& node) {
  Family& state = out.add("kerf_driver_state", Type::kGauge,
                          "1 for the state the NVIDIA driver is in, 0 for the others.");
  for (DriverState each :
       {DriverState::kReady, DriverState::kAbsent, DriverState::kFailed, DriverState::kStuck}) {
    state.samples.push_back(
        {{{"state", std::string(to_string(each))}}, node.driver.state == each ? 1.0 : 0.0});
  }
  Family& info = out.add("kerf_driver_info", Type::kGauge,
                         "Version of the NVIDIA driver and of the CUDA it supports; always 1.");
  if (!node.driver.version.empty()) {
    info.samples = {{{{"version", node.driver.version}, {"cuda", node.driver.cuda}}, 1}};
  }
}

void add_gpus(Families& out, const NodeStatus& node, bool advertises) {
  Family info{"kerf_gpu_info", "A GPU of this node; always 1.", Type::kGauge, {}, {}};
  Family healthy{
      "kerf_gpu_healthy", "1 when the GPU may be given to new containers.", Type::kGauge, {}, {}};
  Family unhealthy{
      "kerf_gpu_unhealthy",
      "1 for each GPU or MIG device that must not be given to new containers, with the "
      "reason.",
      Type::kGauge,
      {},
      {}};
  Family replicas{"kerf_replicas",
                  "Devices advertised to the kubelet, by the GPU behind them.",
                  Type::kGauge,
                  {},
                  {}};
  Family allocated{"kerf_replicas_allocated",
                   "Devices held by a container as far as is known, by the GPU behind them.",
                   Type::kGauge,
                   {},
                   {}};
  for (const GpuStatus& gpu : node.gpus) {
    Labels labels = {{"gpu", std::to_string(gpu.index)}, {"uuid", gpu.uuid}};
    Labels more = labels;
    more.insert(more.end(), {{"model", gpu.name}, {"pci", gpu.pci}});
    info.samples.push_back({more, 1});
    healthy.samples.push_back({labels, gpu.health.ok ? 1.0 : 0.0});
    auto note = [&](const HealthStatus& health, const std::string& device) {
      if (health.ok) return;
      Labels with = labels;
      with.insert(with.end(), {{"device", device}, {"reason", health.reason}});
      unhealthy.samples.push_back({with, 1});
    };
    note(gpu.health, gpu.uuid);
    for (const MigStatus& mig : gpu.mig_devices) note(mig.health, mig.uuid);
    std::map<std::string, std::pair<double, double>> by_resource;
    for (const SliceStatus& slice : gpu.slices) {
      if (!advertises) break;
      auto& [total, used] = by_resource[slice.resource];
      total += 1;
      used += slice.use ? 1 : 0;
    }
    for (const auto& [resource, count] : by_resource) {
      Labels with = labels;
      with.emplace_back("resource", resource);
      replicas.samples.push_back({with, count.first});
      allocated.samples.push_back({with, count.second});
    }
  }
  for (Family* family : {&info, &healthy, &unhealthy, &replicas, &allocated}) {
    out.add(family->name, family->type, family->help).samples = std::move(family->samples);
  }
}

void add_xids(Families& out, const NodeStatus& node, const std::vector<XidStats>& xids) {
  Family total{
      "kerf_gpu_xids_total", "XIDs that the driver reported of a GPU.", Type::kCounter, {}, {}};
  Family last{"kerf_gpu_xid_last_timestamp_seconds",
              "When the driver last reported an XID of a GPU, in seconds since the epoch.",
              Type::kGauge,
              {},
              {}};
  for (const XidStats& stats : xids) {
    const auto gpu = std::ranges::find(node.gpus, stats.uuid, &GpuStatus::uuid);
    const Labels labels = {{"gpu", gpu == node.gpus.end() ? "" : std::to_string(gpu->index)},
                           {"uuid", stats.uuid},
                           {"xid", std::to_string(stats.xid)}};
    total.samples.push_back({labels, number(stats.count)});
    last.samples.push_back({labels, seconds(stats.last_ms)});
  }
  out.add(total.name, total.type, total.help).samples = std::move(total.samples);
  out.add(last.name, last.type, last.help).samples = std::move(last.samples);
}

void add_resources(Families& out, const NodeStatus& node, const AgentCounters& counters) {
  Family& devices = out.add("kerf_devices", Type::kGauge,
                            "Devices advertised to the kubelet, by resource and health.");
  const std::vector<ResourceStatus> resources =
      counters.advertises ? node.resources : std::vector<ResourceStatus>();
  for (const ResourceStatus& r : resources) {
    devices.samples.push_back({{{"resource", r.name}, {"health", "healthy"}}, number(r.healthy)});
    devices.samples.push_back(
        {{{"resource", r.name}, {"health", "unhealthy"}}, number(r.total - r.healthy)});
  }
  Family& registered = out.add("kerf_resource_registered", Type::kGauge,
                               "1 when the resource is registered with the kubelet.");
  for (const ResourceStatus& r : resources) {
    registered.samples.push_back({{{"resource", r.name}}, r.registered ? 1.0 : 0.0});
  }
  out.known("kerf_kubelet_connected", Type::kGauge,
            "1 when the kubelet is there and every resource is registered with it.",
            counters.advertises ? std::optional(node.kubelet.connected ? 1.0 : 0.0) : std::nullopt);
  Family& registrations = out.add("kerf_registrations_total", Type::kCounter,
                                  "Attempts to register with the kubelet, by result.");
  for (const RegistrationStats& r : counters.registrations) {
    registrations.samples.push_back({{{"resource", r.resource}, {"result", "ok"}}, number(r.ok)});
    registrations.samples.push_back(
        {{{"resource", r.resource}, {"result", "failed"}}, number(r.failed)});
  }
  Family& updates = out.add("kerf_device_list_updates_total", Type::kCounter,
                            "Device lists sent to the kubelet on ListAndWatch streams.");
  for (const RegistrationStats& r : counters.registrations) {
    updates.samples.push_back({{{"resource", r.resource}}, number(r.list_updates)});
  }
}

void add_calls(Families& out, const std::string& prefix, const std::string& call,
               const std::vector<CallStats>& stats) {
  Family& duration = out.add(prefix + "_duration_seconds", Type::kHistogram,
                             "Time to answer " + call + ", failed calls included.");
  for (const CallStats& s : stats) {
    duration.histograms.push_back({{{"resource", s.resource}}, s.duration});
  }
  Family& errors = out.add(prefix + "_errors_total", Type::kCounter,
                           call + " calls that were refused, by gRPC status code.");
  for (const CallStats& s : stats) {
    for (const auto& [code, count] : s.errors) {
      errors.samples.push_back({{{"resource", s.resource}, {"code", code}}, number(count)});
    }
  }
}

void add_config(Families& out, const NodeStatus& node, const ConfigStats& config) {
  out.counter("kerf_config_reloads_total", "Configurations put in force after the first one.",
              number(config.reloads));
  out.counter("kerf_config_reload_failures_total",
              "Configurations refused because of errors in them.", number(config.failures));
  out.gauge("kerf_config_last_reload_successful",
            "1 when the newest configuration is the one in force.", config.last_ok ? 1 : 0);
  out.gauge("kerf_config_last_success_timestamp_seconds",
            "When a configuration was last put in force, in seconds since the epoch.",
            seconds(config.last_success_ms));
  out.gauge("kerf_config_warnings", "Warnings about the configuration in force.",
            number(node.config.warnings.size()));
}

void add_nvml(Families& out, const NvmlStats& nvml) {
  out.counter("kerf_nvml_calls_total", "Calls into the NVIDIA driver library.", number(nvml.calls));
  Family& errors = out.add("kerf_nvml_errors_total", Type::kCounter,
                           "Calls into the NVIDIA driver library that failed, by error.");
  for (const auto& [code, count] : nvml.errors) {
    errors.samples.push_back({{{"code", code}}, number(count)});
  }
  out.counter("kerf_nvml_timeouts_total",
              "Calls into the NVIDIA driver library given up at their deadline.",
              number(nvml.timeouts));
  out.gauge("kerf_nvml_stuck_seconds",
            "For how long a call into the driver has been past its deadline; 0 when none is.",
            nvml.stuck_seconds);
  out.gauge("kerf_nvml_watched_gpus",
            "GPUs whose events, XIDs among them, the driver is to report now.", nvml.watched_gpus);
}

void add_http(Families& out, const HttpStats& http) {
  Family& responses =
      out.add("kerf_http_responses_total", Type::kCounter, "HTTP responses, by status code.");
  for (const auto& [code, count] : http.responses) {
    responses.samples.push_back({{{"code", std::to_string(code)}}, number(count)});
  }
  out.counter("kerf_http_connections_refused_total",
              "HTTP connections closed early to make room for others.", number(http.refused));
  out.gauge("kerf_http_connections", "Open HTTP connections, this one included.",
            number(http.connections));
  out.gauge("kerf_http_streams", "Open live-update streams of the status page.",
            number(http.streams));
}

void add_process(Families& out, const NodeStatus& node, const ProcessStats& process) {
  out.known("process_cpu_seconds_total", Type::kCounter,
            "Total user and system CPU time spent in seconds.", process.cpu_seconds);
  out.known("process_resident_memory_bytes", Type::kGauge, "Resident memory size in bytes.",
            process.resident_bytes);
  out.known("process_virtual_memory_bytes", Type::kGauge, "Virtual memory size in bytes.",
            process.virtual_bytes);
  out.known("process_threads", Type::kGauge, "Number of threads of the process.", process.threads);
  out.known("process_open_fds", Type::kGauge, "Number of open file descriptors.", process.open_fds);
  out.known("process_max_fds", Type::kGauge, "Maximum number of open file descriptors.",
            process.max_fds);
  out.gauge("process_start_time_seconds",
            "Start time of the process since the Unix epoch in seconds.", seconds(node.started_ms));
}

}  // namespace

std::vector<Family> agent_metrics(const NodeStatus& node, const AgentCounters& counters,
                                  const ProcessStats& process) {
  Families out;
  add_node(out, node, counters);
  add_driver(out, node);
  add_gpus(out, node, counters.advertises);
  add_xids(out, node, counters.xids);
  add_resources(out, node, counters);
  add_calls(out, "kerf_allocate", "Allocate", counters.allocate);
  add_calls(out, "kerf_preferred_allocation", "GetPreferredAllocation", counters.preferred);
  add_config(out, node, counters.config);
  add_nvml(out, counters.nvml);
  add_http(out, counters.http);
  add_process(out, node, process);
  return std::move(out).take();
}

std::string_view grpc_code_word(int code) {
  static constexpr std::array<std::string_view, 17> kWords = {"ok",
                                                              "cancelled",
                                                              "unknown",
                                                              "invalid_argument",
                                                              "deadline_exceeded",
                                                              "not_found",
                                                              "already_exists",
                                                              "permission_denied",
                                                              "resource_exhausted",
                                                              "failed_precondition",
                                                              "aborted",
                                                              "out_of_range",
                                                              "unimplemented",
                                                              "internal",
                                                              "unavailable",
                                                              "data_loss",
                                                              "unauthenticated"};
  if (code < 0 || static_cast<std::size_t>(code) >= kWords.size()) return "unknown";
  return kWords[static_cast<std::size_t>(code)];
}

}  // namespace kerf::metrics
