// Keeps resources that are shared by MPS from being given out while their daemon may not be used.
// Looks for what the component mps, or NVIDIA's mps-control-daemon, leaves in the directory they
// share; see mps/gate.h.
#pragma once

#include <functional>

#include "agent/node.h"
#include "plan/types.h"

#include <asio/steady_timer.hpp>

namespace asio {
class io_context;
}

namespace kerf::agent {

// Everything on the loop thread.
class MpsGate {
 public:
  // `changed` is called when a gate of `node`, which outlives this, opened or closed.
  MpsGate(asio::io_context& loop, Node& node, std::function<void()> changed);
  ~MpsGate();
  MpsGate(const MpsGate&) = delete;
  MpsGate& operator=(const MpsGate&) = delete;

  // Looks every second while the plan has something to look for.
  void follow(const plan::Plan& plan);

 private:
  void look_later();

  Node& node_;
  std::function<void()> changed_;
  asio::steady_timer timer_;
  bool looking_ = false;
  bool wanted_ = false;
};

}  // namespace kerf::agent
