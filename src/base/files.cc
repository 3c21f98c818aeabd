#include "base/files.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace kerf {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("cannot open file", path, errno);
  std::string content;
  char buffer[16384];
  while (true) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("cannot read file", path, errno);
    if (n == 0) return content;
    if (content.size() + static_cast<std::size_t>(n) > limit) {
      return fail(Kind::kInvalid, "file is larger than " + std::to_string(limit) + " bytes", path,
                  "is this the right file?");
    }
    content.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace kerf
