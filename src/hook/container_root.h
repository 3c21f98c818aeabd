// The root file system of a container that is being created, as a descriptor. Whatever lies in it
// was chosen by others: every path is resolved by the kernel inside that root (openat2), so that no
// link leads out, and what was resolved once is used by its descriptor, not by its name.
//
// Linux 5.6 and newer; an older one gives kUnsupported.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "base/files.h"
#include "base/result.h"

namespace kerf::hook {

// Whether a path may lead onto another mount: a volume may be a directory of the host, in which a
// hook, which is root, must make nothing.
enum class Reach { kThisMount, kAnyMount };

class ContainerRoot {
 public:
  // `path` is the runtime's word and followed as it stands.
  static Result<ContainerRoot> open(const std::string& path);

  // A descriptor that only names what is there (O_PATH), links followed inside the root.
  // kNotFound when there is nothing.
  Result<Fd> find(std::string_view path, Reach reach) const;
  bool has(std::string_view path) const;

  // The regular file's content. Errors: kNotFound, kInvalid for anything but a regular file.
  Result<std::string> read(std::string_view path, std::size_t limit = 1 << 20) const;
  // Names in the directory, sorted; empty when there is none.
  std::vector<std::string> names(std::string_view directory) const;

  // The directory, made with its parents (0755) where it is missing. kDenied when the way leads
  // onto another mount and must not.
  Result<Fd> make_directory(std::string_view path, Reach reach) const;
  // Makes `path` a regular file that holds `text`, at once; a link of that name is replaced, not
  // followed. False when a file of that name holds the text already.
  Result<bool> put(std::string_view path, std::string_view text, mode_t mode) const;
  // Makes `path` a symbolic link that says `target`, at once, replacing a file or an empty
  // directory. A target that leads above the root is refused. False when the link says so already.
  Result<bool> link(std::string_view target, std::string_view path, Reach reach) const;
  // Sets the permission bits of what is there. False when they are so already.
  Result<bool> set_mode(std::string_view path, mode_t mode) const;

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  ContainerRoot(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Result<Fd> enter(std::string_view path, int flags, Reach reach) const;

  Fd fd_;
  std::string path_;  // for messages, and for entering it anew in another mount namespace
};

// Whether a link at `path` that says `target` stays inside the root, as it stands there.
bool stays_inside(std::string_view target, std::string_view path);

}  // namespace kerf::hook
