// The sharing and resources sections of the file. Unlike NVIDIA's plugin, which clears them after
// reading, `rename`, `devices` and `resources` are kept. Source: device-plugin contract §1.4.
#include <algorithm>
#include <limits>
#include <set>

#include "config/names.h"
#include "config/parse_limits.h"
#include "config/reader.h"

#include <fmt/format.h>

namespace kerf::config {
namespace {

std::string raw_text(const Node& node) {
  switch (node.type) {
    case Node::Type::kMap:
      return "{…}";
    case Node::Type::kList:
      return "[…]";
    case Node::Type::kNull:
      return "null";
    default:
      return printable(node.text);
  }
}

// A resource name; null and "" are errors like any other wrong name.
std::optional<std::string> read_name(Reader& reader, const Node& node, const std::string& path) {
  if (!node.is(Node::Type::kNull) && !node.is(Node::Type::kString)) {
    reader.string(node, path);
    return {};
  }
  Result<std::string> name =
      resource_name(node.is(Node::Type::kNull) ? std::string_view() : node.text);
  if (name) return *name;
  reader.error(node, path, name.error().what, name.error().hint);
  return {};
}

std::optional<DeviceRef> read_device(const Node& node) {
  bool number = node.is(Node::Type::kInt) || (node.is(Node::Type::kFloat) && node.whole);
  if (number && node.integer >= 0 && node.text[0] != '+' && node.text[0] != '-' &&
      node.integer <= std::numeric_limits<unsigned>::max()) {
    return ByIndex{static_cast<unsigned>(node.integer), {}};
  }
  if (node.is(Node::Type::kString)) return device_ref(node.text);
  return {};
}

std::optional<DeviceSelector> read_device_list(Reader& reader, const Node& node,
                                               const std::string& path) {
  std::vector<DeviceRef> devices;
  bool valid = true;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const Node& item = node.items[i];
    std::optional<DeviceRef> device = read_device(item);
    if (!device) {
      reader.error(
          item, below(path, i),
          fmt::format("unsupported type for device in devices list: {}, string", raw_text(item)),
          "write an index (0), a MIG index (0:1), a UUID (GPU-…, MIG-…), a PCI address in quotes "
          "(\"0000:3b:00.0\") or \"model:*3090*\"");
      valid = false;
    } else if (std::find(devices.begin(), devices.end(), *device) != devices.end()) {
      reader.warning(item.at, below(path, i), "device listed twice", "keep one of them");
    } else {
      devices.push_back(std::move(*device));
    }
  }
  if (!valid) return {};
  if (devices.empty()) {
    reader.warning(node.at, path, "an empty list selects no device", "write devices: all");
  }
  return devices;
}

std::optional<DeviceSelector> read_devices(Reader& reader, const Node& node,
                                           const std::string& path) {
  constexpr std::string_view kRemedy = "write all, a number of devices, or a list of devices";
  bool number = node.is(Node::Type::kInt) || (node.is(Node::Type::kFloat) && node.whole);
  if (node.is(Node::Type::kList)) return read_device_list(reader, node, path);
  if (node.is(Node::Type::kString) || node.is(Node::Type::kNull)) {
    if (node.text == "all") return AllDevices{};
    reader.error(node, path,
                 fmt::format("devices set as '{}' but the only valid string input is 'all'",
                             node.is(Node::Type::kNull) ? "" : printable(node.text)),
                 std::string(kRemedy));
  } else if (!number) {
    reader.error(node, path, fmt::format("unrecognized type for devices spec: {}", raw_text(node)),
                 std::string(kRemedy));
  } else if (node.integer <= 0) {
    reader.error(
        node, path,
        fmt::format("devices set as '{}' but a count of devices must be > 0", node.integer),
        std::string(kRemedy));
  } else if (node.integer > std::numeric_limits<unsigned>::max()) {
    reader.error(node, path, fmt::format("devices set as '{}': out of range", node.integer),
                 std::string(kRemedy));
  } else {
    return FirstDevices{static_cast<unsigned>(node.integer)};
  }
  return {};
}

std::optional<unsigned> read_replicas(Reader& reader, const Node& node, const std::string& path) {
  std::string range = fmt::format("write a whole number from 2 to {}", kMaxReplicas);
  if (node.is(Node::Type::kNull)) {
    reader.error(node, path, "no replicas specified", range);
    return {};
  }
  std::optional<std::int64_t> number = reader.integer(node, path);
  if (!number) return {};
  if (*number < 1) {
    reader.error(node, path, "number of replicas must be >= 2", range);
    return {};
  }
  if (*number > kMaxReplicas) {
    reader.error(node, path,
                 fmt::format("number of replicas must be <= {}, found {}", kMaxReplicas, *number),
                 range);
    return {};
  }
  if (*number == 1) {
    reader.warning(node.at, path,
                   "1 replica means not shared (elsewhere: number of replicas must be >= 2)",
                   "NVIDIA's plugin refuses such a file; remove the entry, or " + range);
  }
  return static_cast<unsigned>(*number);
}

std::optional<SharedResource> read_shared_resource(Reader& reader, const Node& node,
                                                   const std::string& path, bool by_mps) {
  std::optional<std::string> name;
  std::optional<unsigned> replicas;
  SharedResource resource;
  bool valid = true;
  bool has_name = false;
  bool has_replicas = false;
  std::vector<Field> fields = {{"name",
                                [&](const Node& value, const std::string& p) {
                                  has_name = true;
                                  name = read_name(reader, value, p);
                                }},
                               {"devices",
                                [&](const Node& value, const std::string& p) {
                                  std::optional<DeviceSelector> devices =
                                      read_devices(reader, value, p);
                                  valid = valid && devices.has_value();
                                  if (devices) resource.devices = std::move(*devices);
                                }},
                               {"replicas",
                                [&](const Node& value, const std::string& p) {
                                  has_replicas = true;
                                  replicas = read_replicas(reader, value, p);
                                }},
                               {"rename", [&](const Node& value, const std::string& p) {
                                  resource.rename = read_name(reader, value, p);
                                  valid = valid && resource.rename.has_value();
                                }}};
  if (by_mps) {
    fields.push_back({"limits", [&](const Node& value, const std::string& p) {
                        std::optional<MpsLimits> limits = read_limits(reader, value, p);
                        valid = valid && limits.has_value();
                        if (limits) resource.limits = *limits;
                      }});
  }
  if (!reader.map(node, path, KeyCase::kExact, fields)) return {};
  if (!has_name) {
    reader.error(node, path, "no resource name specified", "add name: nvidia.com/gpu");
  }
  if (!has_replicas) {
    reader.error(node, path, "no replicas specified",
                 fmt::format("add replicas: with a whole number from 2 to {}", kMaxReplicas));
  }
  if (!valid || !name || !replicas) return {};
  resource.name = std::move(*name);
  resource.replicas = *replicas;
  return resource;
}

void warn_of_double_entries(Reader& reader, const Sharing& sharing, const std::string& path,
                            const std::vector<Node>& items) {
  if (sharing.resources.size() != items.size()) return;  // some are wrong, positions do not match
  std::set<std::string> whole;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const SharedResource& resource = sharing.resources[i];
    if (whole.contains(resource.name)) {
      reader.warning(items[i].at, below(path, i),
                     fmt::format("an entry above already shares all devices of {}; this one has no "
                                 "effect",
                                 resource.name),
                     "remove it, or select devices: in the entry above");
    }
    if (std::holds_alternative<AllDevices>(resource.devices)) whole.insert(resource.name);
  }
}

// A whole timeSlicing or mps object.
std::optional<Sharing> read_strategy(Reader& reader, const Node& node, const std::string& path,
                                     bool by_mps) {
  Sharing sharing;
  const bool fail_by_default = by_mps;
  sharing.fail_requests_greater_than_one = fail_by_default;
  const Node* resources = nullptr;
  std::string resources_path = below(path, "resources");
  bool is_map = reader.map(
      node, path, KeyCase::kExact,
      {{"renameByDefault",
        [&](const Node& n, const std::string& p) {
          sharing.rename_by_default = reader.boolean(n, p).value_or(false);
        }},
       {"failRequestsGreaterThanOne",
        [&](const Node& n, const std::string& p) {
          sharing.fail_requests_greater_than_one = reader.boolean(n, p).value_or(fail_by_default);
        }},
       {"resources", [&](const Node& n, const std::string&) { resources = &n; }}});
  if (!is_map) return {};
  const std::vector<Node>* items =
      resources == nullptr ? nullptr : reader.list(*resources, resources_path, "resources");
  bool wrong_type = resources != nullptr && items == nullptr && !resources->is(Node::Type::kNull);
  if (wrong_type) return {};
  if (items == nullptr || items->empty()) {
    reader.error(resources == nullptr ? node : *resources, path, "no resources specified",
                 "add resources: with a list of {name, replicas}");
    return {};
  }
  for (std::size_t i = 0; i < items->size(); ++i) {
    auto resource = read_shared_resource(reader, (*items)[i], below(resources_path, i), by_mps);
    if (!resource) continue;
    if (sharing.rename_by_default && !resource->rename)
      resource->rename = resource->name + ".shared";
    sharing.resources.push_back(std::move(*resource));
  }
  warn_of_double_entries(reader, sharing, resources_path, *items);
  return sharing;
}

std::optional<ResourceRule> read_rule(Reader& reader, const Node& node, const std::string& path) {
  std::optional<std::string> pattern;
  std::optional<std::string> name;
  bool has_name = false;
  bool has_pattern = false;
  bool is_map = reader.map(node, path, KeyCase::kExact,
                           {{"pattern",
                             [&](const Node& value, const std::string& p) {
                               has_pattern = !value.is(Node::Type::kNull);
                               pattern = reader.string(value, p);
                             }},
                            {"name", [&](const Node& value, const std::string& p) {
                               has_name = true;
                               name = read_name(reader, value, p);
                             }}});
  if (!is_map) return {};
  if (!has_pattern) {
    reader.error(node, path, "no pattern specified", "add pattern: \"*\" or part of a name with *");
  }
  if (!has_name) reader.error(node, path, "no resource name specified", "add name: nvidia.com/…");
  if (!pattern || !name) return {};
  return ResourceRule{std::move(*pattern), std::move(*name)};
}

Field rules_field(Reader& reader, std::string_view key, std::vector<ResourceRule>& rules) {
  return {key, [&reader, &rules](const Node& node, const std::string& path) {
            const std::vector<Node>* items = reader.list(node, path, "{pattern, name}");
            if (items == nullptr) return;
            for (std::size_t i = 0; i < items->size(); ++i) {
              if (auto rule = read_rule(reader, (*items)[i], below(path, i))) {
                rules.push_back(std::move(*rule));
              }
            }
          }};
}

}  // namespace

void read_resources(Reader& reader, const Node& node, const std::string& path) {
  reader.map(node, path, KeyCase::kIgnored,
             {rules_field(reader, "gpus", reader.values().gpu_rules),
              rules_field(reader, "mig", reader.values().mig_rules)});
}

void read_sharing(Reader& reader, const Node& node, const std::string& path) {
  reader.map(node, path, KeyCase::kIgnored,
             {{"timeSlicing",
               [&reader](const Node& n, const std::string& p) {
                 reader.values().time_slicing = read_strategy(reader, n, p, false);
               }},
              {"mps", [&reader](const Node& n, const std::string& p) {
                 if (n.is(Node::Type::kNull)) return;
                 reader.values().mps = read_strategy(reader, n, p, true);
               }}});
}

}  // namespace kerf::config
