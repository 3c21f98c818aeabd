// Shapes of a path, outermost first (public layouts of the kubelet and of the container runtimes):
//
//   cgroupfs  /kubepods/burstable/pod<uid>/<id>              CRI-O: …/crio-<id>
//   systemd   /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/
//               cri-containerd-<id>.scope                    also docker-, crio-; "_" for "-" in
//               uid
//   mixed     /system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id>
//   kind      /docker/<node>/kubelet.slice/kubelet-kubepods.slice/…
#include "pods/cgroup.h"

#include <algorithm>
#include <cstddef>

namespace kerf::pods {
namespace {

constexpr std::size_t kIdSize = 64;
// A path longer than the kernel allows, or a file with more controllers than exist, is garbage.
constexpr std::size_t kMaxText = 64 << 10;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool is_container_id(std::string_view text) {
  return text.size() == kIdSize && std::ranges::all_of(text, is_hex);
}

// 8-4-4-4-12, or the 32 digits of a static pod, or nothing.
std::optional<std::string> pod_uid(std::string_view text) {
  std::string uid(text);
  std::ranges::replace(uid, '_', '-');
  if (uid.size() == 32) {
    return std::ranges::all_of(uid, is_hex) ? std::optional(uid) : std::nullopt;
  }
  if (uid.size() != 36) return std::nullopt;
  for (std::size_t at = 0; at < uid.size(); ++at) {
    const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
    if (dash ? uid[at] != '-' : !is_hex(uid[at])) return std::nullopt;
  }
  return uid;
}

// "pod<uid>" or "kubepods[-<class>]-pod<uid>.slice", also with a prefix before "kubepods".
std::optional<std::string> pod_of(std::string_view part) {
  if (part.ends_with(".slice")) {
    part.remove_suffix(6);
    const std::size_t at = part.rfind("-pod");
    if (at == std::string_view::npos || part.substr(0, at).find("kubepods") == part.npos) {
      return std::nullopt;
    }
    return pod_uid(part.substr(at + 4));
  }
  if (!part.starts_with("pod")) return std::nullopt;
  return pod_uid(part.substr(3));
}

// "<id>", "cri-containerd-<id>.scope", "crio-<id>" and the like. "crio-conmon-<id>.scope" is the
// runtime's watcher of a container, not of it.
std::string container_of(std::string_view part) {
  if (part.ends_with(".scope")) part.remove_suffix(6);
  if (part.size() < kIdSize || part.starts_with("crio-conmon-")) return {};
  const std::string_view id = part.substr(part.size() - kIdSize);
  const std::string_view before = part.substr(0, part.size() - kIdSize);
  if (!is_container_id(id)) return {};
  return before.empty() || before.back() == '-' ? std::string(id) : std::string();
}

std::string_view take_part(std::string_view& path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string_view part = path.substr(0, end);
  path.remove_prefix(end);
  return part;
}

std::optional<Membership> read_path(std::string_view path) {
  bool relative = false;
  for (bool first = true;; first = false) {
    std::string_view part = take_part(path);
    if (part.empty()) return std::nullopt;
    if (part == "..") {
      relative = true;
      continue;
    }
    std::string_view inner;  // "<slice>:<runtime>:<id>"
    if (const std::size_t colon = part.find(':'); colon != std::string_view::npos) {
      inner = part.substr(part.rfind(':') + 1);
      part = part.substr(0, colon);
    }
    if (auto uid = pod_of(part)) {
      return Membership{std::move(*uid), container_of(inner.empty() ? take_part(path) : inner)};
    }
    // A sibling of the container that reads this: its pod's part of the path is cut off.
    if (relative && path.empty() && !first) {
      if (std::string id = container_of(part); !id.empty()) return Membership{"", std::move(id)};
    }
  }
}

}  // namespace

std::optional<Membership> parse_cgroup(std::string_view text) {
  if (text.size() > kMaxText) return std::nullopt;
  std::optional<Membership> best;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    // "<hierarchy>:<controllers>:<path>"; the path may hold colons of its own.
    const std::size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    auto found = read_path(line.substr(second + 1));
    if (!found) continue;
    if (!found->pod_uid.empty() && !found->container.empty()) return found;
    if (!best || (best->pod_uid.empty() && !found->pod_uid.empty())) best = std::move(found);
  }
  return best;
}

}  // namespace kerf::pods
