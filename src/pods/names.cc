#include "pods/names.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <vector>

#include "base/roots.h"
#include "base/strings.h"

namespace kerf::pods {
namespace {

constexpr std::size_t kIdSize = 64;
// Far more than a node keeps; a directory of more is not read to its end.
constexpr std::size_t kMaxEntries = 20'000;

template <typename Each>
void each_entry(const std::string& directory, Each each) {
  std::error_code error;
  std::filesystem::directory_iterator at(directory, error);
  const std::filesystem::directory_iterator end;
  for (std::size_t count = 0; !error && at != end && count < kMaxEntries; ++count) {
    each(at->path().filename().string());
    at.increment(error);
  }
}

// The pod's only container that holds something, or "".
std::string only_holder(const Pods& pods, const Owner& pod) {
  std::set<std::string> names;
  for (const Container& each : pods.containers) {
    if (each.owner.name_space == pod.name_space && each.owner.pod == pod.pod) {
      names.insert(each.owner.container);
    }
  }
  return names.size() == 1 ? *names.begin() : std::string();
}

}  // namespace

void add_pod_directory(NameBook& book, std::string_view name) {
  // Neither namespace nor pod can hold an underscore.
  const std::vector<std::string> parts = split(name, '_');
  if (parts.size() != 3 || parts[0].empty() || parts[1].empty() || parts[2].empty()) return;
  book.pods[parts[2]] = {parts[0], parts[1], ""};
}

void add_container_log(NameBook& book, std::string_view name) {
  if (!name.ends_with(".log")) return;
  name.remove_suffix(4);
  const std::vector<std::string> parts = split(name, '_');
  if (parts.size() != 3 || parts[0].empty() || parts[1].empty()) return;
  const std::string& last = parts[2];  // "<container>-<id>"
  if (last.size() < kIdSize + 2 || last[last.size() - kIdSize - 1] != '-') return;
  book.containers[last.substr(last.size() - kIdSize)] = {parts[1], parts[0],
                                                         last.substr(0, last.size() - kIdSize - 1)};
}

NameBook read_names(const std::string& var) {
  NameBook book;
  each_entry(join_path(var, "log/pods"),
             [&book](const std::string& name) { add_pod_directory(book, name); });
  each_entry(join_path(var, "log/containers"),
             [&book](const std::string& name) { add_container_log(book, name); });
  return book;
}

std::optional<Owner> owner_of(const Membership& member, const Pods& pods, const NameBook& book) {
  std::optional<Owner> owner;
  if (auto facts = pods.facts.find(member.pod_uid); facts != pods.facts.end()) {
    owner = Owner{facts->second->name_space, facts->second->pod, ""};
    auto container = facts->second->containers.find(member.container);
    if (container != facts->second->containers.end()) owner->container = container->second;
  } else if (auto pod = book.pods.find(member.pod_uid); pod != book.pods.end()) {
    owner = pod->second;
  }
  if (owner && !owner->container.empty()) return owner;
  if (auto log = book.containers.find(member.container); log != book.containers.end()) {
    // A link that contradicts the pod's uid is left over from somebody else.
    if (!owner || (log->second.name_space == owner->name_space && log->second.pod == owner->pod)) {
      return log->second;
    }
  }
  if (owner) owner->container = only_holder(pods, *owner);
  return owner;
}

}  // namespace kerf::pods
