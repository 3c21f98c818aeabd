#include "labels/file.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

namespace kerf::labels {
namespace {

constexpr mode_t kMode = 0644;
constexpr std::size_t kLimit = 1 << 20;

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return fail_errno("cannot write the feature file", path, errno, "make room on its disk");
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

bool holds(const std::string& path, const std::string& text) {
  struct stat status{};
  if (lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if ((status.st_mode & 0777) != kMode) return false;
  Result<std::string> there = read_file(path, kLimit);
  return there && *there == text;
}

}  // namespace

std::string to_text(const Labels& labels) {
  std::string text;
  for (const auto& [key, value] : labels) text.append(key).append("=").append(value).append("\n");
  return text;
}

Result<bool> put_file(const std::string& path, const Labels& labels) {
  const std::string text = to_text(labels);
  if (holds(path, text)) return false;
  // Hidden, so that node-feature-discovery does not read it half written.
  std::size_t name = path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1;
  std::string partial = path.substr(0, name) + "." + path.substr(name) + "XXXXXX";
  Fd fd(mkostemp(partial.data(), O_CLOEXEC));
  if (!fd) {
    return fail_errno("cannot write the feature file", path, errno,
                      "mount node-feature-discovery's features.d directory there and let this user "
                      "write to it, or set flags.gfd.outputFile");
  }
  Status written = write_all(fd.get(), text, path);
  if (written && fchmod(fd.get(), kMode) != 0) {
    written = fail_errno("cannot make the feature file readable", path, errno);
  }
  if (written && rename(partial.c_str(), path.c_str()) != 0) {
    written = fail_errno("cannot replace the feature file", path, errno,
                         "remove what stands in its place");
  }
  if (!written) {
    unlink(partial.c_str());
    return fail(std::move(written.error()));
  }
  return true;
}

Status remove_file(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return fail_errno("cannot remove the feature file", path, errno, "remove it by hand");
}

}  // namespace kerf::labels
