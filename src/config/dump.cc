// Writing JSON in a given order.
#include "config/dump.h"

#include <utility>

#include "base/strings.h"
#include "config/duration.h"
#include "config/render.h"

namespace kerf::config {
namespace {

// An object whose members come in the order in which they are put.
class Object {
 public:
  Object& put(std::string_view key, const std::string& json) {
    text_ += (text_.size() == 1 ? "" : ",") + json_quote(key) + ":" + json;
    return *this;
  }
  Object& put_text(std::string_view key, std::string_view text) {
    return put(key, json_quote(text));
  }
  Object& put_truth(std::string_view key, bool truth) { return put(key, truth ? "true" : "false"); }
  // Left out when it says nothing.
  Object& put_if(bool any, std::string_view key, const std::string& json) {
    return any ? put(key, json) : *this;
  }
  std::string text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

template <typename List, typename Function>
std::string array(const List& list, Function&& json_of) {
  std::string text = "[";
  for (const auto& each : list) text += (text.size() == 1 ? "" : ",") + json_of(each);
  return text + "]";
}

std::string name_of(const DeviceRef& ref) {
  if (const auto* index = std::get_if<ByIndex>(&ref)) {
    std::string text = std::to_string(index->gpu);
    if (index->mig) text += ":" + std::to_string(*index->mig);
    return json_quote(text);
  }
  if (const auto* uuid = std::get_if<ByUuid>(&ref)) return json_quote(uuid->uuid);
  if (const auto* pci = std::get_if<ByPci>(&ref)) return json_quote(pci->bus_id);
  if (const auto* model = std::get_if<ByModel>(&ref)) return json_quote("model:" + model->pattern);
  return "null";
}

std::string devices_of(const DeviceSelector& selector) {
  if (const auto* first = std::get_if<FirstDevices>(&selector)) return std::to_string(first->count);
  if (const auto* list = std::get_if<std::vector<DeviceRef>>(&selector)) {
    return array(*list, name_of);
  }
  return "\"all\"";
}

std::string shared(const SharedResource& resource) {
  Object out;
  out.put_text("name", resource.name);
  if (resource.rename) out.put_text("rename", *resource.rename);
  return out.put("devices", devices_of(resource.devices))
      .put("replicas", std::to_string(resource.replicas))
      .text();
}

std::string sharing_of(const Config& c) {
  const bool mps = c.sharing_strategy == SharingStrategy::kMps;
  Object active;
  active.put_if(c.sharing.rename_by_default, "renameByDefault", "true");
  const bool any = !c.sharing.resources.empty();
  if (any) active.put_truth("failRequestsGreaterThanOne", c.sharing.fail_requests_greater_than_one);
  active.put_if(any, "resources", array(c.sharing.resources, shared));
  Object out;
  out.put("timeSlicing", mps ? "{}" : active.text());
  return out.put_if(mps, "mps", active.text()).text();
}

std::string rules_of(const std::vector<ResourceRule>& rules) {
  return array(rules, [](const ResourceRule& rule) {
    return Object().put_text("pattern", rule.pattern).put_text("name", rule.name).text();
  });
}

std::string plugin_of(const Config& c) {
  return Object()
      .put_truth("passDeviceSpecs", c.pass_device_specs)
      .put("deviceListStrategy",
           array(c.device_list_strategies,
                 [](DeviceListStrategy s) { return json_quote(to_string(s)); }))
      .put_text("deviceIDStrategy", to_string(c.device_id_strategy))
      .put_text("cdiAnnotationPrefix", c.cdi_annotation_prefix)
      .put_text("nvidiaCTKPath", c.cdi_hook_path)
      .put_text("containerDriverRoot", c.container_driver_root)
      .put_text("sharedDevicesAllocationPolicy", to_string(c.allocation_policy))
      .text();
}

// As Go prints durations: "1m0s", "1h0m0s", "1.5s", "5ns".
std::string go_duration(std::int64_t nanoseconds) {
  if (nanoseconds == kForever) return "infinite";
  constexpr std::int64_t kSecond = 1'000'000'000;
  if (nanoseconds < kSecond) {
    const std::pair<std::int64_t, const char*> units[] = {{1'000'000, "ms"}, {1'000, "µs"}};
    for (const auto& [size, name] : units) {
      if (nanoseconds >= size) {
        return format_number(static_cast<double>(nanoseconds) / static_cast<double>(size)) + name;
      }
    }
    return nanoseconds == 0 ? "0s" : std::to_string(nanoseconds) + "ns";
  }
  constexpr std::int64_t kMinute = 60 * kSecond;
  const std::int64_t hours = nanoseconds / (60 * kMinute);
  const std::int64_t minutes = nanoseconds / kMinute % 60;
  std::string text = hours > 0 ? std::to_string(hours) + "h" : "";
  if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m";
  return text + format_number(static_cast<double>(nanoseconds % kMinute) / kSecond) + "s";
}

std::string gfd_of(const LabelOptions& o) {
  return Object()
      .put_truth("oneshot", o.oneshot)
      .put_truth("noTimestamp", o.no_timestamp)
      .put_text("sleepInterval", go_duration(o.interval_ns))
      .put_text("outputFile", o.output_file)
      .put_text("machineTypeFile", o.machine_type_file)
      .text();
}

std::string flags_of(const Config& c, bool labels) {
  Object flags;
  flags.put_text("migStrategy", to_string(c.mig_strategy))
      .put_truth("failOnInitError", c.fail_on_init_error)
      .put_if(!c.mps_root.empty(), "mpsRoot", json_quote(c.mps_root))
      .put_if(!c.driver_root.empty(), "nvidiaDriverRoot", json_quote(c.driver_root))
      .put_if(!c.dev_root.empty(), "nvidiaDevRoot", json_quote(c.dev_root))
      .put_truth("gdrcopyEnabled", c.gdrcopy_enabled)
      .put_truth("gdsEnabled", c.gds_enabled)
      .put_truth("mofedEnabled", c.mofed_enabled);
  if (labels) {
    flags.put_truth("useNodeFeatureAPI", c.labels.use_node_feature_api);
  } else {
    flags.put("useNodeFeatureAPI", "null");
  }
  flags.put_text("deviceDiscoveryStrategy", to_string(c.discovery)).put("plugin", plugin_of(c));
  return flags.put_if(labels, "gfd", gfd_of(c.labels)).text();
}

}  // namespace

std::string dump(const Config& config, bool labels) {
  Object resources;
  resources.put("gpus", config.gpu_rules.empty() ? "null" : rules_of(config.gpu_rules));
  resources.put_if(!config.mig_rules.empty(), "mig", rules_of(config.mig_rules));
  Object imex;
  imex.put_if(!config.imex_channel_ids.empty(), "channelIDs",
              array(config.imex_channel_ids, [](int id) { return std::to_string(id); }));
  imex.put_if(config.imex_required, "required", "true");
  return Object()
      .put_text("version", "v1")
      .put("flags", flags_of(config, labels))
      .put("resources", resources.text())
      .put("sharing", sharing_of(config))
      .put("imex", imex.text())
      .text();
}

}  // namespace kerf::config
