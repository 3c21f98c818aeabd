#include "base/watch.h"

#include <cerrno>
#include <set>
#include <sys/inotify.h>

#include "base/files.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

namespace kerf {
namespace {

constexpr std::uint32_t kMask = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE |
                                IN_ATTRIB | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

}  // namespace

// Shared with the pending read, which may outlive the watch by one turn of the loop.
struct DirectoryWatch::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& loop, int fd, Changed on_change)
      : stream(loop, fd), changed(std::move(on_change)) {}

  void wait() {
    stream.async_read_some(asio::buffer(buffer),
                           [self = shared_from_this()](std::error_code error, std::size_t size) {
                             if (error || self->stopped) return;
                             self->report(size);
                             if (!self->stopped) self->wait();
                           });
  }

  void report(std::size_t size) {
    std::set<std::string> names;
    for (std::size_t at = 0; at + sizeof(inotify_event) <= size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      bool all = (event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0;
      names.insert(all || event->len == 0 ? std::string() : std::string(event->name));
      at += sizeof(inotify_event) + event->len;
    }
    for (const std::string& name : names) {
      if (stopped) return;
      changed(name);
    }
  }

  asio::posix::stream_descriptor stream;
  Changed changed;
  bool stopped = false;
  alignas(inotify_event) char buffer[4096];
};

DirectoryWatch::DirectoryWatch(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

DirectoryWatch::~DirectoryWatch() {
  impl_->stopped = true;
  std::error_code ignored;
  impl_->stream.close(ignored);
}

Result<std::unique_ptr<DirectoryWatch>> DirectoryWatch::open(asio::io_context& loop,
                                                             const std::string& directory,
                                                             Changed changed) {
  Fd fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) {
    return fail_errno("cannot watch directory", directory, errno,
                      "raise fs.inotify.max_user_instances");
  }
  if (inotify_add_watch(fd.get(), directory.c_str(), kMask) < 0) {
    return fail_errno("cannot watch directory", directory, errno,
                      errno == ENOSPC ? "raise fs.inotify.max_user_watches" : "");
  }
  auto impl = std::make_shared<Impl>(loop, fd.release(), std::move(changed));
  impl->wait();
  return std::unique_ptr<DirectoryWatch>(new DirectoryWatch(std::move(impl)));
}

}  // namespace kerf
