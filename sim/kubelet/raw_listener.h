// A unix socket that misbehaves on purpose: accepts and says nothing, or says garbage.
#pragma once

#include <atomic>
#include <cstring>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace kubelet_sim {

class RawListener {
 public:
  // `greeting` is written to every connection, which is then closed; an empty one keeps connections
  // open without a word.
  RawListener(const std::string& path, std::string greeting) : path_(path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ::unlink(path.c_str());
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok_ = ::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
          ::listen(fd_, 16) == 0;
    thread_ = std::thread([this, greeting = std::move(greeting)] { serve(greeting); });
  }
  ~RawListener() {
    stop_ = true;
    thread_.join();
    ::close(fd_);
    ::unlink(path_.c_str());
    for (int held : held_) ::close(held);
  }
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;
  bool ok() const { return ok_; }

 private:
  void serve(const std::string& greeting) {
    while (!stop_) {
      pollfd wait{fd_, POLLIN, 0};
      if (::poll(&wait, 1, 20) <= 0) continue;
      int connection = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      if (greeting.empty()) {
        held_.push_back(connection);
      } else {
        (void)!::send(connection, greeting.data(), greeting.size(), MSG_NOSIGNAL);
        ::close(connection);
      }
    }
  }

  std::string path_;
  int fd_ = -1;
  bool ok_ = false;
  std::atomic<bool> stop_ = false;
  std::vector<int> held_;  // the thread's, then the destructor's
  std::thread thread_;
};

}  // namespace kubelet_sim
