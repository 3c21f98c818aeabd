// A way into the event loop for the transport's threads that can be shut: what is posted after
// `close` is dropped, so a late answer cannot reach a loop that is gone.
#pragma once

#include <mutex>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace kerf::kubelet {

class Gate {
 public:
  explicit Gate(asio::io_context& loop) : loop_(&loop) {}

  // Any thread. `work` runs on the loop, after the current turn.
  template <typename Work>
  void post(Work&& work) {
    std::lock_guard lock(mutex_);
    if (loop_ != nullptr) asio::post(*loop_, std::forward<Work>(work));
  }
  void close() {
    std::lock_guard lock(mutex_);
    loop_ = nullptr;
  }

 private:
  std::mutex mutex_;
  asio::io_context* loop_;
};

}  // namespace kerf::kubelet
