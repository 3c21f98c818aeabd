// Being told when something in a directory changes (inotify on the event loop), so that nothing has
// to poll. Says that something happened, not what: the owner looks for itself.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace asio {
class io_context;
}

namespace kerf {

// Calls `changed(name)` on the loop's thread whenever an entry of `directory` was created, moved,
// written and closed, given other rights, or removed; `name` is the entry's name, empty when the
// directory itself vanished or events were lost (look at everything). Several events of one read
// with the same name are reported once. Stops when destroyed; the callback may destroy it.
class DirectoryWatch {
 public:
  using Changed = std::function<void(const std::string& name)>;

  // Errors: kNotFound when the directory does not exist, kDenied, kInternal (watch limit reached).
  static Result<std::unique_ptr<DirectoryWatch>> open(asio::io_context& loop,
                                                      const std::string& directory,
                                                      Changed changed);
  ~DirectoryWatch();
  DirectoryWatch(const DirectoryWatch&) = delete;
  DirectoryWatch& operator=(const DirectoryWatch&) = delete;

 private:
  struct Impl;
  explicit DirectoryWatch(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf
