// From a process's control group to the pod and container it belongs to. Pure. Which text is whose
// is processes.h's business.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kerf::pods {

// What the path of a control group tells. At least one of the two is known.
struct Membership {
  std::string pod_uid;  // with dashes; of a static pod its hash. Empty: only the container is known
  std::string container;  // 64 hexadecimal digits; empty: in the pod's own group, not a container's
  bool operator==(const Membership&) const = default;
};

// Reads the content of /proc/<pid>/cgroup: version 1 (a line a controller), version 2 (one line) or
// both; the kubelet's drivers cgroupfs and systemd; containerd, CRI-O and Docker; nodes that are
// containers themselves (kind); paths relative to a cgroup namespace ("/../../kubepods…").
// Containers can make groups of any name below their own, so the outermost pod on a path holds.
// Nothing for processes outside of pods and for text that is no such file.
std::optional<Membership> parse_cgroup(std::string_view text);

}  // namespace kerf::pods
