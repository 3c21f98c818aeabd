// Making and merging container edits.
#include "edits/edits.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kerf::edits {
namespace {

// The lists are short (one entry a GPU), so that looking through them beats a set.
template <typename T>
void merge_by_container_path(std::vector<T>& into, std::vector<T>&& more) {
  into.reserve(into.size() + more.size());
  for (T& item : more) {
    auto same = std::find_if(into.begin(), into.end(), [&](const T& present) {
      return present.container_path == item.container_path;
    });
    if (same == into.end()) {
      into.push_back(std::move(item));
    } else {
      *same = std::move(item);
    }
  }
}

void merge_maps(std::map<std::string, std::string>& into,
                std::map<std::string, std::string>&& more) {
  for (auto& [name, value] : more) into[name] = std::move(value);
}

}  // namespace

Edits env(std::string name, std::string value) {
  Edits edits;
  edits.envs.emplace(std::move(name), std::move(value));
  return edits;
}

Edits mount(std::string host_path, std::string container_path, bool read_only) {
  Edits edits;
  edits.mounts.push_back({std::move(host_path), std::move(container_path), read_only});
  return edits;
}

Edits device_node(std::string host_path, std::string container_path, std::string permissions) {
  Edits edits;
  edits.devices.push_back(
      {std::move(host_path), std::move(container_path), std::move(permissions)});
  return edits;
}

Edits annotation(std::string key, std::string value) {
  Edits edits;
  edits.annotations.emplace(std::move(key), std::move(value));
  return edits;
}

Edits cdi_device(std::string qualified_name) {
  Edits edits;
  edits.cdi_devices.push_back(std::move(qualified_name));
  return edits;
}

void merge(Edits& into, Edits more) {
  merge_maps(into.envs, std::move(more.envs));
  merge_maps(into.annotations, std::move(more.annotations));
  merge_by_container_path(into.mounts, std::move(more.mounts));
  merge_by_container_path(into.devices, std::move(more.devices));
  for (std::string& name : more.cdi_devices) {
    if (std::find(into.cdi_devices.begin(), into.cdi_devices.end(), name) ==
        into.cdi_devices.end()) {
      into.cdi_devices.push_back(std::move(name));
    }
  }
}

Edits operator+(Edits a, Edits b) {
  merge(a, std::move(b));
  return a;
}

std::string below(std::string_view root, std::string_view path) {
  while (!root.empty() && root.back() == '/') root.remove_suffix(1);
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  std::string joined;
  joined.reserve(root.size() + 1 + path.size());
  return joined.append(root).append("/").append(path);
}

}  // namespace kerf::edits
