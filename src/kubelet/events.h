// Carries what the transport's threads saw to the observer on the loop, in batches: waking the loop
// for every call would cost more than the call's own work.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kubelet/plugin.h"

namespace asio {
class io_context;
}

namespace kerf::kubelet {

class Events {
 public:
  // `observer` must outlive this.
  Events(asio::io_context& loop, const Observer& observer);
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  // Any thread; copies what it keeps. When the loop is so late that kMost allocations wait, further
  // ones are dropped: they are news, not accounts (those are in Stats).
  void allocated(const std::string& resource, std::span<const std::string_view> ids, pid_t peer,
                 const std::optional<Error>& error);
  // The ids must point into `request`. Only the latest of a resource is kept.
  void available(const std::string& resource, std::string_view request,
                 std::span<const std::string_view> ids);
  // Loop thread: nothing is delivered afterwards.
  void stop();

 private:
  static constexpr std::size_t kMost = 4096;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kerf::kubelet
