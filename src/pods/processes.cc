#include "pods/processes.h"

#include <utility>

#include "base/files.h"
#include "base/roots.h"
#include "base/strings.h"

namespace kerf::pods {

std::optional<std::uint64_t> start_time(std::string_view stat) {
  // The second field is the program's name in brackets, which may itself hold blanks and brackets.
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  std::string_view rest = trim(stat.substr(name_end + 1));
  constexpr std::size_t kField = 22 - 3;  // the first of the rest is field 3
  for (std::size_t at = 0; at < kField; ++at) {
    const std::size_t blank = rest.find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(blank + 1);
  }
  return parse_u64(rest.substr(0, rest.find(' ')));
}

Result<Process> Processes::look(std::uint32_t pid) {
  const std::string directory = join_path(proc_, std::to_string(pid));
  Result<std::string> stat = read_file(join_path(directory, "stat"), 64 << 10);
  if (!stat) {
    known_.erase(pid);
    return fail(std::move(stat.error()));
  }
  const std::optional<std::uint64_t> started = start_time(*stat);
  if (!started) return fail(Kind::kCorrupt, "not the state of a process", directory + "/stat");
  auto known = known_.find(pid);
  if (known != known_.end() && known->second.started == *started) return known->second;
  Result<std::string> cgroup = read_file(join_path(directory, "cgroup"), 64 << 10);
  if (!cgroup) return fail(std::move(cgroup.error()));
  Process process{*started, parse_cgroup(*cgroup)};
  known_[pid] = process;
  return process;
}

void Processes::keep_only(const std::set<std::uint32_t>& pids) {
  std::erase_if(known_, [&pids](const auto& entry) { return !pids.contains(entry.first); });
}

}  // namespace kerf::pods
