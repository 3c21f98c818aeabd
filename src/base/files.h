// Reading files, and owning descriptors.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "base/result.h"

namespace kerf {

// Owns a file descriptor; closes it. Movable, not copyable.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// The whole file, up to `limit` bytes; a longer one is an error, not a cut. Works on sysfs and
// procfs files, whose size is not known beforehand. The error's subject is the path.
Result<std::string> read_file(const std::string& path, std::size_t limit = 1 << 20);

}  // namespace kerf
