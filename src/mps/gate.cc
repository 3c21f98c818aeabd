#include "mps/gate.h"

#include <cerrno>
#include <fcntl.h>
#include <string_view>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/put_file.h"
#include "mps/layout.h"

namespace kerf::mps {
namespace {

// Tells our files from NVIDIA's, which are empty.
constexpr std::string_view kOurs = "locked while the daemon is supervised\n";

constexpr const char* kRemedy =
    "run the component mps (or NVIDIA's mps-control-daemon) on this node and look at its log";

}  // namespace

Status StartedFile::raise(const std::string& path) {
  if (fd_) return {};
  if (Fd there(open(path.c_str(), O_RDONLY | O_CLOEXEC)); there) {
    if (flock(there.get(), LOCK_SH | LOCK_NB) != 0) {
      return fail(Kind::kBusy, "another process supervises this daemon", path,
                  "run the component mps once a node");
    }
  }
  // Locked before it has its name: nobody may take it for one left behind.
  Result<Fd> fd =
      put_open_file(path, kOurs,
                    {.what = "sign of an MPS daemon",
                     .remedy = "let this container write to the directory of --mps-dir"},
                    [](int file) { return flock(file, LOCK_EX | LOCK_NB) == 0; });
  if (!fd) return fail(std::move(fd.error()));
  path_ = path;
  fd_ = std::move(*fd);
  return {};
}

void StartedFile::lower() {
  if (!fd_) return;
  unlink(path_.c_str());
  fd_.reset();
}

Status may_be_used(const std::string& root, const std::string& resource) {
  const Layout layout(root, resource);
  Fd fd(open(layout.started.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    return fail(Kind::kNotFound, "its MPS daemon is not up", layout.started, kRemedy);
  }
  if (!fd) return fail_errno("cannot look for its MPS daemon", layout.started, errno, kRemedy);
  struct stat facts{};
  if (fstat(fd.get(), &facts) != 0) return fail_errno("cannot look", layout.started, errno);
  if (facts.st_size == 0) {
    return access(layout.pipe.c_str(), F_OK) == 0
               ? Status()
               : fail(Kind::kNotFound, "its MPS daemon has no pipe", layout.pipe, kRemedy);
  }
  if (flock(fd.get(), LOCK_SH | LOCK_NB) != 0) return {};
  return fail(Kind::kGone, "who ran its MPS daemon is gone", layout.started, kRemedy);
}

}  // namespace kerf::mps
