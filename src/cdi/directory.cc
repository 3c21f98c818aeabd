// Writing specifications so that a runtime never reads half of one.
#include "cdi/directory.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/roots.h"
#include "cdi/render.h"

namespace kerf::cdi {
namespace {

constexpr std::size_t kLargest = 16u << 20;
constexpr mode_t kMode = 0644;

Unexpected explain(std::string_view what, const std::string& path, int error_number) {
  std::string hint =
      "the plugin must be able to write where container runtimes look for CDI specifications: "
      "mount the host's directory there and give it access with `kerf prepare --cdi-dir` "
      "(component deploy/kustomize/components/cdi)";
  if (error_number == ENOSPC || error_number == EDQUOT) hint = "make room on that file system";
  return fail_errno(what, path, error_number, std::move(hint));
}

Status write_all(const Fd& fd, const std::string& text, const std::string& path) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return explain("cannot write the CDI specification", path, errno);
    done += static_cast<std::size_t>(n);
  }
  // The mode in open() is cut by the umask, and runtimes may run as others.
  if (::fchmod(fd.get(), kMode) != 0) {
    return explain("cannot set the mode of the CDI specification", path, errno);
  }
  return {};
}

Status replace(const std::string& path, const std::string& text) {
  // Runtimes look at names that end in .json or .yaml only.
  std::string temporary = path + ".XXXXXX";
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return explain("cannot write the CDI specification", path, errno);
  Status done = write_all(fd, text, path);
  if (done && ::rename(temporary.c_str(), path.c_str()) != 0) {
    done = explain("cannot put the CDI specification in place", path, errno);
  }
  if (!done) ::unlink(temporary.c_str());
  return done;
}

bool has_mode(const std::string& path) {
  struct stat about{};
  return ::lstat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode) &&
         (about.st_mode & 07777u) == kMode;
}

}  // namespace

std::string file_name(std::string_view device_class) {
  return std::string(kVendor).append("-").append(device_class).append(".json");
}

Result<bool> Directory::write(const Spec& spec) {
  const std::string path = join_path(path_, file_name(spec.device_class));
  const std::string text = render(spec);
  if (has_mode(path)) {
    if (auto present = read_file(path, kLargest); present && *present == text) return false;
  }
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error)
    return explain("cannot make the directory for CDI specifications", path_, error.value());
  if (Status done = replace(path, text); !done) return fail(std::move(done.error()));
  return true;
}

Result<bool> Directory::remove(std::string_view device_class) {
  const std::string path = join_path(path_, file_name(device_class));
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return explain("cannot remove the CDI specification", path, errno);
}

}  // namespace kerf::cdi
