#include "base/put_file.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/files.h"

namespace kerf {
namespace {

bool holds(const std::string& path, std::string_view text, mode_t mode) {
  struct stat about{};
  if (lstat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) return false;
  if ((about.st_mode & 07777U) != mode) return false;
  if (std::cmp_not_equal(about.st_size, text.size())) return false;
  Result<std::string> there = read_file(path, text.size() + 1);
  return there && *there == text;
}

// Where the new one is made: ".config.yaml" for "/etc/config.yaml".
std::string hidden_beside(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(0, name) + "." + path.substr(name);
}

Status fill(int fd, std::string_view text, const std::string& path, const PutFile& how) {
  const auto failed = [&](const char* verb) {
    const int why = errno;
    const bool full = why == ENOSPC || why == EDQUOT;
    return fail_errno(std::string(verb).append(how.what), path, why,
                      full ? "make room on that file system" : how.remedy);
  };
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("cannot write the ");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (fchmod(fd, how.mode) != 0) return failed("cannot set the mode of the ");
  if (fsync(fd) != 0) return failed("cannot write the ");
  return {};
}

}  // namespace

Result<bool> put_file(const std::string& path, std::string_view text, const PutFile& how) {
  if (holds(path, text, how.mode)) return false;
  Result<Fd> put = put_open_file(path, text, how, [](int) { return true; });
  if (!put) return fail(std::move(put.error()));
  return true;
}

Result<Fd> put_open_file(const std::string& path, std::string_view text, const PutFile& how,
                         const std::function<bool(int fd)>& claim) {
  std::string partial = hidden_beside(path) + "XXXXXX";
  Fd fd(mkostemp(partial.data(), O_CLOEXEC));
  if (!fd) {
    const int why = errno;
    return fail_errno(std::string("cannot write the ").append(how.what), path, why, how.remedy);
  }
  Status done = fill(fd.get(), text, path, how);
  if (done && (!claim(fd.get()) || rename(partial.c_str(), path.c_str()) != 0)) {
    const int why = errno;
    done =
        fail_errno(std::string("cannot put in place the ").append(how.what), path, why, how.remedy);
  }
  if (!done) {
    unlink(partial.c_str());
    return fail(std::move(done.error()));
  }
  return fd;
}

Status put_link(const std::string& path, const std::string& target, const PutFile& how) {
  const std::string partial = hidden_beside(path) + ".link";
  unlink(partial.c_str());  // of one who was killed in between
  if (symlink(target.c_str(), partial.c_str()) == 0 && rename(partial.c_str(), path.c_str()) == 0) {
    return {};
  }
  const int why = errno;
  unlink(partial.c_str());
  return fail_errno(std::string("cannot put in place the ").append(how.what), path, why,
                    how.remedy);
}

}  // namespace kerf
