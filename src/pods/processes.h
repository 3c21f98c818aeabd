// Which pod a process belongs to, read from the host's /proc. Needs the host's process ids: a pod
// with hostPID, or no pod. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "pods/cgroup.h"

namespace kerf::pods {

struct Process {
  std::uint64_t started = 0;         // clock ticks since boot: tells a number's users apart
  std::optional<Membership> member;  // nothing: in no pod
};

// The start of a process: field 22 of /proc/<pid>/stat (proc(5)), nothing when it is no such text.
// Pure.
std::optional<std::uint64_t> start_time(std::string_view stat);

class Processes {
 public:
  explicit Processes(std::string proc) : proc_(std::move(proc)) {}

  // kNotFound: no such process (any more, or in this process's namespace); kDenied; kCorrupt. The
  // control group of a process is read once: a runtime puts a process into its own before the
  // program starts.
  Result<Process> look(std::uint32_t pid);
  // Forgets all others.
  void keep_only(const std::set<std::uint32_t>& pids);
  std::size_t size() const { return known_.size(); }

 private:
  std::string proc_;
  std::map<std::uint32_t, Process> known_;
};

}  // namespace kerf::pods
