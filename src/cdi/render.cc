// Writing the format, deciding its version, checking its rules.
#include "cdi/render.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

namespace kerf::cdi {
namespace {

using Json = nlohmann::ordered_json;

// In the order of the format's history.
enum class Version { k0_3, k0_4, k0_5, k0_6, k0_7 };
constexpr std::array<const char*, 5> kVersions = {"0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0"};

bool letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool letter_or_digit(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

Version needed(const ContainerEdits& edits) {
  if (!edits.additional_gids.empty()) return Version::k0_7;
  if (std::ranges::any_of(edits.nodes, [](const DeviceNode& n) { return !n.host_path.empty(); })) {
    return Version::k0_5;
  }
  if (std::ranges::any_of(edits.mounts, [](const Mount& m) { return !m.type.empty(); })) {
    return Version::k0_4;
  }
  return Version::k0_3;
}

void put(Json& into, const char* key, const std::optional<unsigned>& value) {
  if (value) into[key] = *value;
}

template <typename T>
void put_list(Json& into, const char* key, const std::vector<T>& list) {
  if (!list.empty()) into[key] = list;
}

Json node_json(const DeviceNode& node) {
  Json out = {{"path", node.path}};
  if (!node.host_path.empty()) out["hostPath"] = node.host_path;
  put(out, "major", node.major);
  put(out, "minor", node.minor);
  put(out, "fileMode", node.file_mode);
  if (!node.permissions.empty()) out["permissions"] = node.permissions;
  put(out, "gid", node.gid);
  return out;
}

Json edits_json(const ContainerEdits& edits) {
  Json out = Json::object();
  put_list(out, "env", edits.env);
  for (const DeviceNode& node : edits.nodes) out["deviceNodes"].push_back(node_json(node));
  for (const Hook& hook : edits.hooks) {
    Json one = {{"hookName", hook.name}, {"path", hook.path}};
    put_list(one, "args", hook.args);
    put_list(one, "env", hook.env);
    out["hooks"].push_back(std::move(one));
  }
  for (const Mount& mount : edits.mounts) {
    Json one = {{"hostPath", mount.host_path}, {"containerPath", mount.container_path}};
    put_list(one, "options", mount.options);
    if (!mount.type.empty()) one["type"] = mount.type;
    out["mounts"].push_back(std::move(one));
  }
  put_list(out, "additionalGids", edits.additional_gids);
  return out;
}

Unexpected refuse(const Spec& spec, std::string what, std::string subject) {
  return fail(Kind::kInvalid, "CDI specification " + spec.device_class + ": " + std::move(what),
              std::move(subject));
}

bool absolute(const std::string& path) { return path.starts_with('/'); }

bool valid_hook(const Hook& hook) {
  constexpr std::array<std::string_view, 6> kHooks = {
      "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};
  return std::ranges::find(kHooks, hook.name) != kHooks.end() && absolute(hook.path);
}

Status check_edits(const Spec& spec, const ContainerEdits& edits) {
  for (const std::string& env : edits.env) {
    if (env.find('=') == std::string::npos || env.starts_with('=')) {
      return refuse(spec, "not of the form NAME=value", env);
    }
  }
  for (const DeviceNode& node : edits.nodes) {
    if (!absolute(node.path)) return refuse(spec, "device path is not absolute", node.path);
    if (node.permissions.find_first_not_of("rwm") != std::string::npos) {
      return refuse(spec, "permissions are letters of rwm", node.permissions);
    }
  }
  for (const Mount& mount : edits.mounts) {
    if (!absolute(mount.host_path) || !absolute(mount.container_path)) {
      return refuse(spec, "mount path is not absolute", mount.host_path);
    }
  }
  for (const Hook& hook : edits.hooks) {
    if (!valid_hook(hook)) return refuse(spec, "not a hook with an absolute path", hook.path);
  }
  return {};
}

}  // namespace

std::string minimum_version(const Spec& spec) {
  Version version = needed(spec.common);
  auto at_least = [&](Version other) { version = std::max(version, other); };
  if (!spec.annotations.empty() || spec.device_class.find('.') != std::string::npos) {
    at_least(Version::k0_6);
  }
  for (const Device& device : spec.devices) {
    at_least(needed(device.edits));
    if (!device.annotations.empty()) at_least(Version::k0_6);
    if (!device.name.empty() && !letter(device.name.front())) at_least(Version::k0_5);
  }
  return kVersions[static_cast<std::size_t>(version)];
}

std::string qualified_name(std::string_view device_class, std::string_view device) {
  return std::string(kVendor).append("/").append(device_class).append("=").append(device);
}

bool valid_device_name(std::string_view name) {
  if (name.empty() || !letter_or_digit(name.front()) || !letter_or_digit(name.back())) return false;
  return std::ranges::all_of(name, [](char c) {
    return letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == ':';
  });
}

Status check(const Spec& spec) {
  if (spec.device_class.empty() || !letter(spec.device_class.front()) ||
      !valid_device_name(spec.device_class) || spec.device_class.find(':') != std::string::npos) {
    return refuse(spec, "invalid class", spec.device_class);
  }
  if (spec.devices.empty()) return refuse(spec, "no devices", "");
  std::set<std::string_view> names;
  for (const Device& device : spec.devices) {
    if (!valid_device_name(device.name)) return refuse(spec, "invalid device name", device.name);
    if (!names.insert(device.name).second) {
      return refuse(spec, "two devices of one name", device.name);
    }
    if (device.edits == ContainerEdits{}) {
      return refuse(spec, "a device without edits", device.name);
    }
    if (Status status = check_edits(spec, device.edits); !status) return status;
  }
  return check_edits(spec, spec.common);
}

std::string render(const Spec& spec) {
  Json out = {{"cdiVersion", minimum_version(spec)},
              {"kind", std::string(kVendor) + "/" + spec.device_class}};
  if (!spec.annotations.empty()) out["annotations"] = spec.annotations;
  out["devices"] = Json::array();
  for (const Device& device : spec.devices) {
    Json one = {{"name", device.name}};
    if (!device.annotations.empty()) one["annotations"] = device.annotations;
    one["containerEdits"] = edits_json(device.edits);
    out["devices"].push_back(std::move(one));
  }
  if (spec.common != ContainerEdits{}) out["containerEdits"] = edits_json(spec.common);
  // Paths come from the disk and may hold any bytes.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace kerf::cdi
