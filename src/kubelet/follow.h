// Follows a directory that comes and goes: the kubelet's plugin directory may not exist yet when we
// start and may be removed and made again while we run. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace asio {
class io_context;
}

namespace kerf::kubelet {

class Follower {
 public:
  // `changed(name)` when an entry of `directory` changed; with an empty name when anything may have
  // (the directory appeared, vanished, was replaced, events were lost). While the directory is
  // missing its nearest existing ancestor is watched. Where the system grants no watch (inotify
  // limits), `changed("")` is called once a second instead.
  Follower(asio::io_context& loop, std::string directory,
           std::function<void(const std::string& name)> changed);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf::kubelet
