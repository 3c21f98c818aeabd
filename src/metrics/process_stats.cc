#include "metrics/process_stats.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/files.h"
#include "base/roots.h"
#include "base/strings.h"

namespace kerf::metrics {
namespace {

// The fields of proc/self/stat after the command name, which may itself hold blanks and brackets.
// Source: proc(5). Field numbers there count from 1; state (3) is the first here.
std::vector<std::string> stat_fields(const std::string& proc) {
  auto text = read_file(join_path(proc, "self/stat"));
  if (!text) return {};
  std::size_t close = text->rfind(')');
  if (close == std::string::npos) return {};
  return split(trim(std::string_view(*text).substr(close + 1)), ' ');
}

std::optional<double> field(const std::vector<std::string>& fields, std::size_t number) {
  if (number - 3 >= fields.size()) return {};
  auto value = parse_u64(fields[number - 3]);
  if (!value) return {};
  return static_cast<double>(*value);
}

std::optional<double> count_fds(const std::string& proc) {
  DIR* directory = opendir(join_path(proc, "self/fd").c_str());
  if (directory == nullptr) return {};
  double count = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count - 1;  // the one that reads the directory
}

}  // namespace

ProcessStats read_process_stats(const std::string& proc) {
  ProcessStats out;
  auto fields = stat_fields(proc);
  auto hertz = static_cast<double>(sysconf(_SC_CLK_TCK));
  auto user = field(fields, 14), system = field(fields, 15);
  if (user && system) out.cpu_seconds = (*user + *system) / hertz;
  out.threads = field(fields, 20);
  out.virtual_bytes = field(fields, 23);
  if (auto pages = field(fields, 24)) {
    out.resident_bytes = *pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  out.open_fds = count_fds(proc);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) out.max_fds = static_cast<double>(limit.rlim_cur);
  return out;
}

}  // namespace kerf::metrics
