// The directory that a batch system keeps: which job runs on which GPU.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/files.h"
#include "base/strings.h"
#include "exporter/sampler.h"

namespace kerf::exporter {

Jobs read_jobs(const std::string& directory) {
  Jobs out;
  if (directory.empty()) return out;
  std::error_code failed;
  for (const auto& file : std::filesystem::directory_iterator(directory, failed)) {
    const std::string name = file.path().filename().string();
    const std::vector<std::string> parts = split(name, '.');
    const bool numbers = std::ranges::all_of(
        parts, [](const std::string& part) { return parse_u64(part).has_value(); });
    if (parts.size() > 2 || !numbers) continue;
    Result<std::string> text = read_file(file.path().string());
    if (!text) continue;
    for (const std::string& line : split(*text, '\n')) {
      const std::string job(trim(line));
      std::vector<std::string>& jobs = out[name];
      if (!job.empty() && std::ranges::find(jobs, job) == jobs.end()) jobs.push_back(job);
    }
  }
  return out;
}

}  // namespace kerf::exporter
