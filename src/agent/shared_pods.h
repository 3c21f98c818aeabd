// What the node's pods hold, asked once for all components of a process: one question to the
// kubelet and one watch of the API server, however many want to know.
//
// Loop thread only.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "config/types.h"
#include "kube/client.h"
#include "pods/types.h"

namespace asio {
class io_context;
}
namespace kerf::pods {
class Follower;
}

namespace kerf::agent {

class SharedPods {
 public:
  // What one component wants. The shortest interval holds for all.
  struct Want {
    std::chrono::milliseconds interval{5'000};
    bool facts = false;             // also labels, annotations and uids, of the API server
    std::function<void()> changed;  // current() is another; never from inside a call here
  };

  // As long as it lives its owner is told. Must not outlive the SharedPods.
  class Interest {
   public:
    ~Interest();
    Interest(const Interest&) = delete;
    Interest& operator=(const Interest&) = delete;

   private:
    friend class SharedPods;
    Interest(SharedPods& pods, std::list<Want>::iterator want) : pods_(pods), want_(want) {}
    SharedPods& pods_;
    std::list<Want>::iterator want_;
  };

  SharedPods(asio::io_context& loop, std::string version);
  ~SharedPods();
  SharedPods(const SharedPods&) = delete;
  SharedPods& operator=(const SharedPods&) = delete;

  // `process` names the kubelet's socket, the node and the way to the API server; the first one
  // given holds. Nothing is asked before control is back in the loop.
  std::unique_ptr<Interest> follow(const config::ProcessOptions& process, Want want);

  // Never null.
  pods::PodsPtr current() const;
  // Why the API server does not tell; absent while it does, and when nobody wants facts.
  std::optional<Error> watch_error() const;

  // The API server, reached once for all; opened when first asked for. Outlives every Interest.
  // What is asked through it may be answered after a component's stop().
  Result<std::shared_ptr<kube::Client>> client(const config::ProcessOptions& process);

 private:
  void adjust();
  void tell() const;

  asio::io_context& loop_;
  const std::string version_;
  std::optional<config::ProcessOptions> process_;
  std::list<Want> wants_;
  std::shared_ptr<kube::Client> client_;
  std::unique_ptr<pods::Follower> follower_;
  Want running_;  // what the follower was started for
  bool adjusting_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kerf::agent
