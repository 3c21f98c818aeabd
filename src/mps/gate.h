// The sign by which those who run a daemon tell those who advertise its resource that it may be
// used; they may be in different containers and share no more than the files. `.started` is there
// while the daemon answers. One made by us is locked as long as we live, so that a file left behind
// by a process that was killed counts for nothing; an empty one, as NVIDIA's mps-control-daemon
// makes it, counts by being there.
#pragma once

#include <string>

#include "base/files.h"
#include "base/result.h"

namespace kerf::mps {

// Makes and holds `.started`. Errors: kBusy when another process holds it, and those of the file.
class StartedFile {
 public:
  Status raise(const std::string& path);
  // Removes it.
  void lower();
  bool raised() const { return static_cast<bool>(fd_); }

 private:
  std::string path_;
  Fd fd_;
};

// Whether the daemon of `resource` below `root` may be used; if not, the error says why. Reads, and
// does not wait.
Status may_be_used(const std::string& root, const std::string& resource);

}  // namespace kerf::mps
