#include "kubelet/events.h"

#include <chrono>

#include "kubelet/gate.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::kubelet {
namespace {

// Long enough to gather a burst, short enough for a page that shows things live.
constexpr std::chrono::milliseconds kGather{20};

struct Allocated {
  std::string resource;
  std::vector<std::string> ids;
  pid_t peer = 0;
  std::optional<Error> error;
};

struct Available {
  std::string bytes;  // a copy of the request, into which the ids point
  std::vector<std::pair<std::size_t, std::size_t>> ids;  // offset, size
};

}  // namespace

struct Events::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& loop, const Observer& to) : observer(to), timer(loop), gate(loop) {}

  // With the lock held.
  void announce() {
    if (std::exchange(announced, true)) return;
    gate.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->gather();
    });
  }

  void gather() {
    timer.expires_after(kGather);
    timer.async_wait([weak = weak_from_this()](std::error_code cancelled) {
      auto self = weak.lock();
      if (!cancelled && self) self->deliver();
    });
  }

  void deliver() {
    std::vector<Allocated> allocations;
    std::map<std::string, Available> free;
    {
      std::lock_guard lock(mutex);
      announced = false;
      allocations.swap(pending);
      free.swap(latest);
    }
    std::vector<std::string_view> ids;
    for (const auto& [resource, available] : free) {
      ids.clear();
      for (auto [offset, size] : available.ids) {
        ids.push_back(std::string_view(available.bytes).substr(offset, size));
      }
      observer.available(resource, ids);
    }
    for (const Allocated& each : allocations) {
      ids.assign(each.ids.begin(), each.ids.end());
      observer.allocated({each.resource, ids, each.peer, each.error ? &*each.error : nullptr});
    }
  }

  const Observer& observer;
  asio::steady_timer timer;
  Gate gate;
  std::mutex mutex;
  std::vector<Allocated> pending;           // guarded by mutex
  std::map<std::string, Available> latest;  // likewise
  bool announced = false;                   // likewise
};

Events::Events(asio::io_context& loop, const Observer& observer)
    : impl_(std::make_shared<Impl>(loop, observer)) {}

Events::~Events() { stop(); }

void Events::allocated(const std::string& resource, std::span<const std::string_view> ids,
                       pid_t peer, const std::optional<Error>& error) {
  if (!impl_->observer.allocated) return;
  Allocated one{resource, {ids.begin(), ids.end()}, peer, error};
  std::lock_guard lock(impl_->mutex);
  if (impl_->pending.size() >= kMost) return;
  impl_->pending.push_back(std::move(one));
  impl_->announce();
}

void Events::available(const std::string& resource, std::string_view request,
                       std::span<const std::string_view> ids) {
  if (!impl_->observer.available) return;
  Available one{std::string(request), {}};
  one.ids.reserve(ids.size());
  for (std::string_view id : ids) {
    one.ids.emplace_back(static_cast<std::size_t>(id.data() - request.data()), id.size());
  }
  std::lock_guard lock(impl_->mutex);
  impl_->latest.insert_or_assign(resource, std::move(one));
  impl_->announce();
}

void Events::stop() {
  impl_->gate.close();
  impl_->timer.cancel();
}

}  // namespace kerf::kubelet
