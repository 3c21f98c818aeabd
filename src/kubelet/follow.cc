#include "kubelet/follow.h"

#include <chrono>

#include "base/log.h"
#include "base/watch.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::kubelet {
namespace {

std::string parent_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

struct Follower::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io, std::string at, std::function<void(const std::string&)> on_change)
      : loop(io), poll(io), directory(std::move(at)), changed(std::move(on_change)) {}

  // Watches the directory or its nearest existing ancestor. True when it is the directory itself.
  bool arm() {
    watch.reset();
    std::string at = directory;
    while (true) {
      auto opened = DirectoryWatch::open(loop, at, [this, at](const std::string& name) {
        at == directory ? entry_changed(name) : try_again_soon();
      });
      if (opened) {
        watch = std::move(*opened);
        return at == directory;
      }
      if (opened.error().kind != Kind::kNotFound || at == "/" || at == ".") {
        if (!std::exchange(warned, true)) {
          log::warn("kubelet", "no watch, looking once a second instead", opened.error());
        }
        return false;
      }
      at = parent_of(at);
    }
  }

  void entry_changed(const std::string& name) {
    if (!name.empty()) {
      changed(name);
    } else {
      try_again_soon();
    }
  }

  // From a turn of the loop of its own, because arming destroys the watch that is reporting.
  void try_again_soon() {
    if (std::exchange(posted, true)) return;
    asio::post(loop, [self = shared_from_this()] {
      self->posted = false;
      if (self->stopped) return;
      self->settle();
      if (!self->stopped) self->changed("");
    });
  }

  void settle() {
    // Between finding that the directory is missing and watching its parent it may have appeared.
    bool armed = arm();
    if (!armed && watch) armed = arm();
    if (!watch) poll_later();
  }

  void poll_later() {
    poll.expires_after(std::chrono::seconds(1));
    poll.async_wait([self = shared_from_this()](std::error_code cancelled) {
      if (!cancelled && !self->stopped) self->try_again_soon();
    });
  }

  asio::io_context& loop;
  asio::steady_timer poll;
  std::string directory;
  std::function<void(const std::string&)> changed;
  std::unique_ptr<DirectoryWatch> watch;
  bool posted = false;
  bool stopped = false;
  bool warned = false;
};

Follower::Follower(asio::io_context& loop, std::string directory,
                   std::function<void(const std::string&)> changed)
    : impl_(std::make_shared<Impl>(loop, std::move(directory), std::move(changed))) {
  impl_->settle();
}

Follower::~Follower() {
  impl_->stopped = true;
  impl_->watch.reset();
  impl_->poll.cancel();
}

}  // namespace kerf::kubelet
