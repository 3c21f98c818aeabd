#include "config/render.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "config/duration.h"
#include "config/flags.h"
#include "config/tree.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

// Column at which the comments of explain begin, where the line is short enough.
constexpr std::size_t kCommentColumn = 56;

// A string as a YAML scalar that reads back as the same string.
std::string scalar(const std::string& text) {
  constexpr std::string_view kSafe =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
  Node probe;
  probe.text = text;
  if (!text.empty()) resolve_plain(probe);
  bool plain = !text.empty() && probe.is(Node::Type::kString) && text[0] != '-' && text[0] != '.' &&
               text.find_first_not_of(kSafe) == std::string::npos;
  return plain ? text : json_quote(text);
}

class Writer {
 public:
  explicit Writer(const Effective* explained) {
    if (explained == nullptr) return;
    explain_ = true;
    for (const Provenance& p : explained->provenance) sources_[p.path] = p.source;
  }

  bool explains() const { return explain_; }

  void line(unsigned indent, std::string_view text) {
    out_ += fmt::format("{:{}}{}\n", "", 2 * indent, text);
  }

  // `key: value`, with where the value at `path` came from.
  void value(unsigned indent, std::string_view key, const std::string& text,
             const std::string& path, std::string_view otherwise = "default") {
    std::string body = fmt::format("{:{}}{}: {}", "", 2 * indent, key, text);
    if (explain_) {
      auto found = sources_.find(path);
      body += std::string(body.size() < kCommentColumn ? kCommentColumn - body.size() : 1, ' ');
      body += fmt::format(
          "# from {}", found == sources_.end() ? std::string(otherwise) : printable(found->second));
    }
    out_ += body + '\n';
  }

  std::string take() { return std::move(out_); }

 private:
  bool explain_ = false;
  std::map<std::string, std::string, std::less<>> sources_;
  std::string out_;
};

std::string truth(bool b) { return b ? "true" : "false"; }

template <typename T>
std::string word(T value) {
  return std::string(to_string(value));
}

void write_flags(Writer& out, const Config& c) {
  out.line(0, "flags:");
  auto flag = [&out](std::string_view key, const std::string& text) {
    out.value(1, key, text, fmt::format("flags.{}", key));
  };
  flag("migStrategy", word(c.mig_strategy));
  flag("failOnInitError", truth(c.fail_on_init_error));
  flag("mpsRoot", scalar(c.mps_root));
  flag("nvidiaDriverRoot", scalar(c.driver_root));
  flag("nvidiaDevRoot", scalar(c.dev_root));
  flag("gdrcopyEnabled", truth(c.gdrcopy_enabled));
  flag("gdsEnabled", truth(c.gds_enabled));
  flag("mofedEnabled", truth(c.mofed_enabled));
  flag("deviceDiscoveryStrategy", word(c.discovery));
  out.line(1, "plugin:");
  auto plugin = [&out](std::string_view key, const std::string& text) {
    out.value(2, key, text, fmt::format("flags.plugin.{}", key));
  };
  std::vector<std::string_view> strategies;
  strategies.reserve(c.device_list_strategies.size());
  for (DeviceListStrategy s : c.device_list_strategies) strategies.push_back(to_string(s));
  plugin("passDeviceSpecs", truth(c.pass_device_specs));
  plugin("deviceListStrategy", fmt::format("[{}]", fmt::join(strategies, ", ")));
  plugin("deviceIDStrategy", word(c.device_id_strategy));
  plugin("cdiAnnotationPrefix", scalar(c.cdi_annotation_prefix));
  plugin("nvidiaCTKPath", scalar(c.cdi_hook_path));
  plugin("containerDriverRoot", scalar(c.container_driver_root));
  plugin("sharedDevicesAllocationPolicy", word(c.allocation_policy));
}

void write_label_options(Writer& out, const LabelOptions& o) {
  out.value(1, "useNodeFeatureAPI", truth(o.use_node_feature_api), "flags.useNodeFeatureAPI");
  out.line(1, "gfd:");
  auto gfd = [&out](std::string_view key, const std::string& text) {
    out.value(2, key, text, fmt::format("flags.gfd.{}", key));
  };
  gfd("oneshot", truth(o.oneshot));
  gfd("noTimestamp", truth(o.no_timestamp));
  gfd("sleepInterval", duration_text(o.interval_ns));
  gfd("outputFile", scalar(o.output_file));
  gfd("machineTypeFile", scalar(o.machine_type_file));
  gfd("nodeLabels", truth(o.node_labels));
  gfd("pciLabels", truth(o.pci_labels));
}

void write_rules(Writer& out, std::string_view key, const std::vector<ResourceRule>& rules) {
  if (rules.empty()) return;
  out.line(1, fmt::format("{}:", key));
  for (std::size_t i = 0; i < rules.size(); ++i) {
    std::string path = fmt::format("resources.{}[{}]", key, i);
    out.value(2, "- pattern", scalar(rules[i].pattern), path + ".pattern");
    out.value(3, "name", scalar(rules[i].name), path + ".name");
  }
}

std::string selector_text(const DeviceSelector& devices) {
  if (std::holds_alternative<AllDevices>(devices)) return "all";
  if (const auto* first = std::get_if<FirstDevices>(&devices)) return std::to_string(first->count);
  std::vector<std::string> items;
  for (const DeviceRef& ref : std::get<std::vector<DeviceRef>>(devices)) {
    bool plain_index = std::holds_alternative<ByIndex>(ref) && !std::get<ByIndex>(ref).mig;
    items.push_back(plain_index ? to_string(ref) : json_quote(to_string(ref)));
  }
  return fmt::format("[{}]", fmt::join(items, ", "));
}

void write_sharing(Writer& out, const Config& c) {
  if (c.sharing.resources.empty()) return;
  std::string key = c.sharing_strategy == SharingStrategy::kMps ? "mps" : "timeSlicing";
  std::string base = "sharing." + key;
  out.line(0, "sharing:");
  out.line(1, key + ":");
  out.value(2, "renameByDefault", truth(c.sharing.rename_by_default), base + ".renameByDefault");
  out.value(2, "failRequestsGreaterThanOne", truth(c.sharing.fail_requests_greater_than_one),
            base + ".failRequestsGreaterThanOne");
  out.line(2, "resources:");
  for (std::size_t i = 0; i < c.sharing.resources.size(); ++i) {
    const SharedResource& r = c.sharing.resources[i];
    std::string path = fmt::format("{}.resources[{}]", base, i);
    out.value(3, "- name", scalar(r.name), path + ".name");
    if (r.rename) out.value(4, "rename", scalar(*r.rename), path + ".rename", "renameByDefault");
    out.value(4, "devices", selector_text(r.devices), path + ".devices");
    out.value(4, "replicas", std::to_string(r.replicas), path + ".replicas");
    if (r.limits == MpsLimits{}) continue;
    out.line(4, "limits:");
    if (r.limits.memory_mib) {
      out.value(5, "memory", fmt::format("{}Mi", *r.limits.memory_mib), path + ".limits.memory");
    }
    if (r.limits.thread_percentage) {
      out.value(5, "threadPercentage", std::to_string(*r.limits.thread_percentage),
                path + ".limits.threadPercentage");
    }
  }
}

// A section of kerf's own, left out of a file that does not need it.
void write_health(Writer& out, const HealthOptions& o, bool always) {
  if (!always && o == HealthOptions{}) return;
  out.line(0, "health:");
  auto value = [&out](std::string_view section, std::string_view key, const std::string& text) {
    out.value(2, key, text, fmt::format("health.{}.{}", section, key));
  };
  if (!o.xids.empty()) out.line(1, "xids:");
  for (auto [key, action] : kXidActions) {
    std::vector<std::uint64_t> xids;
    for (const auto& [xid, each] : o.xids) {
      if (each == action) xids.push_back(xid);
    }
    if (!xids.empty()) value("xids", key, fmt::format("[{}]", fmt::join(xids, ", ")));
  }
  out.line(1, "recovery:");
  value("recovery", "quietPeriod", duration_text(o.quiet_period_ns));
  value("recovery", "maxQuietPeriod", duration_text(o.max_quiet_period_ns));
  out.line(1, "conditions:");
  value("conditions", "ecc", truth(o.ecc));
  value("conditions", "rowRemapFailure", truth(o.row_remap_failure));
  value("conditions", "rowRemapPending", truth(o.row_remap_pending));
  value("conditions", "nvlink", truth(o.nvlink));
  value("conditions", "thermal", truth(o.thermal));
  value("conditions", "thermalAfter", duration_text(o.thermal_after_ns));
  value("conditions", "pollInterval", duration_text(o.poll_interval_ns));
}

// A section of kerf's own as well.
void write_usage(Writer& out, const UsageOptions& o, bool always) {
  if (!always && o == UsageOptions{}) return;
  out.line(0, "usage:");
  out.value(1, "interval", duration_text(o.interval_ns), "usage.interval");
  out.line(1, "memoryWatchdog:");
  auto value = [&out](std::string_view key, const std::string& text) {
    out.value(2, key, text, fmt::format("usage.memoryWatchdog.{}", key));
  };
  value("action", std::string(kOverShare[static_cast<std::size_t>(o.over_share)].first));
  value("window", duration_text(o.window_ns));
  value("tolerancePercent", std::to_string(o.tolerance_percent));
  value("quotaAnnotation", truth(o.quota_annotation));
}

void write_power_target(Writer& out, unsigned indent, const PowerTarget& target,
                        const std::string& path) {
  auto value = [&](std::string_view key, const std::string& text) {
    out.value(indent, key, text, fmt::format("{}.{}", path, key));
  };
  if (target.limit) value("limit", scalar(to_string(*target.limit)));
  if (target.graphics_clock) value("graphicsClock", scalar(to_string(*target.graphics_clock)));
  if (target.memory_clock) value("memoryClock", scalar(to_string(*target.memory_clock)));
  if (target.time_slice) value("timeSlice", std::string(to_string(*target.time_slice)));
}

// A section of kerf's own as well.
void write_power(Writer& out, const PowerOptions& o, bool always) {
  if (!always && o == PowerOptions{}) return;
  out.line(0, "power:");
  auto value = [&out](unsigned indent, std::string_view key, const std::string& text,
                      const std::string& section) {
    out.value(indent, key, text, fmt::format("{}.{}", section, key));
  };
  write_power_target(out, 1, o.all, "power");
  value(1, "outOfRange", o.out_of_range == OutOfRange::kClamp ? "clamp" : "refuse", "power");
  value(1, "persistence", truth(o.persistence), "power");
  value(1, "reapply", duration_text(o.reapply_ns), "power");
  value(1, "restoreOnExit", truth(o.restore_on_exit), "power");
  if (!o.gpus.empty()) out.line(1, "gpus:");
  for (std::size_t i = 0; i < o.gpus.size(); ++i) {
    const PowerRule& rule = o.gpus[i];
    std::string path = fmt::format("power.gpus[{}]", i);
    std::string_view by = kPowerSelectors[static_cast<std::size_t>(rule.by)].first;
    out.value(2, fmt::format("- {}", by), json_quote(rule.match), fmt::format("{}.{}", path, by));
    write_power_target(out, 3, rule.target, path);
    value(3, "weight", std::to_string(rule.weight), path);
  }
  if (const auto& budget = o.budget) {
    out.line(1, "budget:");
    auto watts = [](std::uint32_t mw) {
      return to_string(PowerAmount{PowerAmount::Unit::kWatts, mw});
    };
    value(2, "total", watts(budget->total_mw), "power.budget");
    value(2, "interval", duration_text(budget->interval_ns), "power.budget");
    value(2, "hysteresis", watts(budget->hysteresis_mw), "power.budget");
  }
}

void write_config(Writer& out, const Config& c) {
  out.line(0, "version: v1");
  write_flags(out, c);
  write_label_options(out, c.labels);
  if (!c.gpu_rules.empty() || !c.mig_rules.empty()) out.line(0, "resources:");
  write_rules(out, "gpus", c.gpu_rules);
  write_rules(out, "mig", c.mig_rules);
  write_sharing(out, c);
  out.line(0, "imex:");
  out.value(1, "channelIDs", fmt::format("[{}]", fmt::join(c.imex_channel_ids, ", ")),
            "imex.channelIDs");
  out.value(1, "required", truth(c.imex_required), "imex.required");
  write_health(out, c.health, out.explains());
  write_power(out, c.power, out.explains());
  write_usage(out, c.usage, out.explains());
}

// The settings that no file can hold, as comments, so that the output is itself a valid file.
void write_process(Writer& out, const Effective& e) {
  const ProcessOptions& p = e.process;
  out.line(0, "# Not part of the file:");
  auto flag = [&out](const std::string& name, const std::string& text) {
    out.value(0, "#   --" + name, scalar(text), "--" + name);
  };
  flag("config-file", p.config_file);
  flag("kubelet-socket", p.kubelet_socket);
  flag("pod-resources-socket", p.pod_resources_socket);
  flag("cdi-feature-flags", join(e.config.cdi_feature_flags, ","));
  flag("cdi-disable-hooks", join(e.config.cdi_disable_hooks, ","));
  flag("disable-healthchecks", e.config.disable_health_checks);
  flag("enable-healthchecks", e.config.enable_health_checks);
  flag("components", join(p.components, ","));
  flag("mps-dir", p.mps_dir);
  flag("listen", p.listen);
  flag("nvml-library", p.nvml_library);
  flag("root", p.root);
  flag("state-dir", p.state_dir);
  flag("log-level", p.log_level);
  flag("log-format", p.log_format);
  flag("node-name", p.node_name);
  flag("config-file-srcdir", p.config_srcdir);
  flag("node-label", p.node_label);
  flag("default-config", p.default_config);
  flag("fallback-strategies", join(p.fallback_strategies, ","));
  flag("kubeconfig", p.kubeconfig);
  flag("kube-api-qps", format_number(p.kube_api_qps));
  flag("kube-api-burst", std::to_string(p.kube_api_burst));
  flag("namespace", p.name_space);
  flag("pod-name", p.pod_name);
}

// The words of an enum stand in the flag table, in the order of the enumerators.
std::string_view word_of(std::string_view flag, std::size_t index) {
  const FlagSpec* spec = find_flag(flag);
  return index < spec->allowed.size() ? spec->allowed[index] : std::string_view("?");
}

}  // namespace

std::string_view to_string(MigStrategy value) {
  return word_of("mig-strategy", static_cast<std::size_t>(value));
}
std::string_view to_string(DeviceListStrategy value) {
  return word_of("device-list-strategy", static_cast<std::size_t>(value));
}
std::string_view to_string(DeviceIdStrategy value) {
  return word_of("device-id-strategy", static_cast<std::size_t>(value));
}
std::string_view to_string(AllocationPolicy value) {
  return word_of("shared-devices-allocation-policy", static_cast<std::size_t>(value));
}
std::string_view to_string(DiscoveryStrategy value) {
  return word_of("device-discovery-strategy", static_cast<std::size_t>(value));
}

std::string_view to_string(SharingStrategy value) {
  switch (value) {
    case SharingStrategy::kNone:
      return "none";
    case SharingStrategy::kTimeSlicing:
      return "time-slicing";
    case SharingStrategy::kMps:
      return "mps";
  }
  return "none";
}

std::string to_string(const DeviceRef& device) {
  if (const auto* uuid = std::get_if<ByUuid>(&device)) return uuid->uuid;
  if (const auto* pci = std::get_if<ByPci>(&device)) return pci->bus_id;
  if (const auto* model = std::get_if<ByModel>(&device)) return "model:" + model->pattern;
  const auto& index = std::get<ByIndex>(device);
  return index.mig ? fmt::format("{}:{}", index.gpu, *index.mig) : std::to_string(index.gpu);
}

std::string to_yaml(const Config& config) {
  Writer out(nullptr);
  write_config(out, config);
  return out.take();
}

std::string to_yaml(const Effective& effective) {
  Writer out(&effective);
  write_config(out, effective.config);
  write_process(out, effective);
  return out.take();
}

}  // namespace kerf::config
