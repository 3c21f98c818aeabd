// From what a control group tells to a container's names. The API server knows them; so does the
// node, because the kubelet names log directories after pods and links to logs after containers.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "pods/cgroup.h"
#include "pods/types.h"

namespace kerf::pods {

// The names that the node's log directories tell.
struct NameBook {
  std::map<std::string, Owner, std::less<>> pods;        // by uid; container is empty
  std::map<std::string, Owner, std::less<>> containers;  // by container id
};

// "<namespace>_<pod>_<uid>", an entry of /var/log/pods. Adds nothing for other text. Pure.
void add_pod_directory(NameBook& book, std::string_view name);
// "<pod>_<namespace>_<container>-<container id>.log", an entry of /var/log/containers. Pure.
void add_container_log(NameBook& book, std::string_view name);

// Reads both directories below `var` ("/var"). Missing ones are as good as empty ones.
NameBook read_names(const std::string& var);

// Whose container that is, nothing when nobody knows. The API server goes before the directories;
// a container that neither knows by id is named when its pod has just one that holds a device, and
// is left unnamed otherwise. Pure.
std::optional<Owner> owner_of(const Membership& member, const Pods& pods, const NameBook& book);

}  // namespace kerf::pods
