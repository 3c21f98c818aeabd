#include "kubelet/listener.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::kubelet {
namespace {

std::string directory_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) return fail(Kind::kInvalid, "the socket path is empty");
  if (path.size() >= sizeof address.sun_path) {
    return fail(Kind::kInvalid,
                "the socket path has " + std::to_string(path.size()) +
                    " bytes, more than the 107 that unix sockets allow",
                path, "choose a shorter directory for the kubelet socket");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

bool somebody_answers(const sockaddr_un& address) {
  Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe) return false;
  return connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno == EAGAIN;
}

// Makes room at `path` for a new socket.
Status clear(const std::string& path, const sockaddr_un& address) {
  const std::string directory = directory_of(path);
  struct stat at{};
  if (lstat(path.c_str(), &at) != 0) {
    if (errno == ENOTDIR) {
      return fail(Kind::kConflict, "not a directory", directory,
                  "point the kubelet socket into a directory");
    }
    if (errno != ENOENT) {
      return fail_errno("cannot look at socket path", path, errno,
                        "make " + directory + " accessible to this user");
    }
    struct stat parent{};
    if (stat(directory.c_str(), &parent) != 0) {
      return fail_errno("the directory for our socket is not there", directory, errno,
                        "the kubelet creates it; check that it runs and that its device-plugin "
                        "directory is mounted here");
    }
    return {};
  }
  if (S_ISDIR(at.st_mode)) {
    return fail(Kind::kConflict, "a directory is where our socket should be", path,
                "remove the directory");
  }
  if (!S_ISSOCK(at.st_mode)) {
    return fail(Kind::kConflict, "something that is not a socket is where our socket should be",
                path, "remove it");
  }
  if (somebody_answers(address)) {
    return fail(Kind::kBusy, "another process serves this resource", path,
                "stop the other device plugin; kerf takes over when it is gone");
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail_errno("cannot replace the stale socket of user " + std::to_string(at.st_uid), path,
                      errno, "remove it, or run as the user it belongs to");
  }
  return {};
}

Unexpected bind_error(const std::string& path, int error) {
  const std::string directory = directory_of(path);
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return fail_errno("cannot create our socket as user " + std::to_string(geteuid()), path,
                        error, "make " + directory + " writable for this user");
    case ENOSPC:
    case EDQUOT:
      return fail_errno("cannot create our socket", path, error, "free space or inodes there");
    case EADDRINUSE:
      return fail(Kind::kBusy, "another process just took our socket's path", path,
                  "stop the other device plugin", error);
    default:
      return fail_errno("cannot create our socket", path, error);
  }
}

}  // namespace

// Shared with the pending wait, which may outlive the listener by one turn of the loop.
struct Listener::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& loop, int fd, std::string at, Accepted on_accept)
      : socket(loop, fd), pause(loop), path(std::move(at)), accepted(std::move(on_accept)) {}

  void wait() {
    socket.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](std::error_code error) {
                        if (error || self->stopped) return;
                        self->accept_all();
                      });
  }

  void accept_all() {
    while (!stopped) {
      Fd connection(
          accept4(socket.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (connection) {
        accepted(std::move(connection));
      } else if (errno != EINTR && errno != ECONNABORTED) {
        break;
      }
    }
    if (stopped) return;
    if (errno == EAGAIN) {
      wait();
    } else {
      rest(errno);
    }
  }

  // Out of descriptors or memory: the connection stays in the backlog, so asking again at once
  // would spin.
  void rest(int error) {
    log::warn("kubelet", "cannot accept connections",
              {{"socket", path}, {"err", std::strerror(error)}});
    pause.expires_after(std::chrono::milliseconds(200));
    pause.async_wait([self = shared_from_this()](std::error_code cancelled) {
      if (!cancelled && !self->stopped) self->wait();
    });
  }

  asio::posix::stream_descriptor socket;
  asio::steady_timer pause;
  std::string path;
  Accepted accepted;
  dev_t device = 0;
  ino_t inode = 0;
  bool stopped = false;
};

Listener::Listener(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Listener::~Listener() {
  if (in_place()) unlink(impl_->path.c_str());
  impl_->stopped = true;
  std::error_code ignored;
  impl_->socket.close(ignored);
  impl_->pause.cancel();
}

bool Listener::in_place() const {
  struct stat at{};
  return lstat(impl_->path.c_str(), &at) == 0 && at.st_dev == impl_->device &&
         at.st_ino == impl_->inode;
}

const std::string& Listener::path() const { return impl_->path; }

Result<std::unique_ptr<Listener>> Listener::open(asio::io_context& loop, const std::string& path,
                                                 mode_t mode, Accepted accepted) {
  Result<sockaddr_un> address = address_of(path);
  if (!address) return fail(address.error());
  if (Status cleared = clear(path, *address); !cleared) return fail(cleared.error());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot create socket", path, errno);
  // On Linux the socket's mode becomes the file's, so no moment passes with wider permissions.
  fchmod(fd.get(), mode);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return bind_error(path, errno);
  }
  struct stat at{};
  if (listen(fd.get(), 128) != 0 || lstat(path.c_str(), &at) != 0) {
    int error = errno;
    unlink(path.c_str());
    return fail_errno("cannot listen on our socket", path, error);
  }
  auto impl = std::make_shared<Impl>(loop, fd.release(), path, std::move(accepted));
  impl->device = at.st_dev;
  impl->inode = at.st_ino;
  impl->wait();
  return std::unique_ptr<Listener>(new Listener(std::move(impl)));
}

}  // namespace kerf::kubelet
