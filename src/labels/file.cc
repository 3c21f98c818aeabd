#include "labels/file.h"

#include <cerrno>
#include <unistd.h>

#include "base/put_file.h"

namespace kerf::labels {
std::string to_text(const Labels& labels) {
  std::string text;
  for (const auto& [key, value] : labels) text.append(key).append("=").append(value).append("\n");
  return text;
}

Result<bool> put_file(const std::string& path, const Labels& labels) {
  return kerf::put_file(path, to_text(labels),
                        {"feature file", 0644,
                         "mount node-feature-discovery's features.d directory there and let this "
                         "user write to it, or set flags.gfd.outputFile"});
}

Status remove_file(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return fail_errno("cannot remove the feature file", path, errno, "remove it by hand");
}

}  // namespace kerf::labels
