// Our own unix listening socket: made with checks that say what is wrong, replaced when stale, and
// noticed when somebody removes it. Hands accepted connections on; knows nothing of what they
// carry. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <sys/types.h>

#include "base/files.h"
#include "base/result.h"

namespace asio {
class io_context;
}

namespace kerf::kubelet {

class Listener {
 public:
  using Accepted = std::function<void(Fd connection)>;

  // Binds `path` with permission bits `mode` and accepts until destroyed. A socket left behind by
  // an earlier run is replaced. Errors, each naming the path and what to do:
  //   kInvalid   the path is empty or longer than 107 bytes (sun_path)
  //   kNotFound  its directory does not exist
  //   kConflict  something that is not a socket is at the path (a directory, a file): left alone
  //   kBusy      another process answers on the socket
  //   kDenied    the directory is not writable, or the stale socket belongs to somebody else
  //   kInternal  the disk is full, descriptors ran out, …
  static Result<std::unique_ptr<Listener>> open(asio::io_context& loop, const std::string& path,
                                                mode_t mode, Accepted accepted);
  // Stops accepting and removes the socket, if it is still ours.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // False when the path no longer leads to this socket.
  bool in_place() const;
  const std::string& path() const;

 private:
  struct Impl;
  explicit Listener(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf::kubelet
