#include "agent/mps_gate.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "mps/gate.h"

#include <asio/io_context.hpp>

namespace kerf::agent {

MpsGate::MpsGate(asio::io_context& loop, Node& node, std::function<void()> changed)
    : node_(node), changed_(std::move(changed)), timer_(loop) {
  node_.set_gate([this](const std::string& resource) -> std::optional<Error> {
    Status open = mps::may_be_used(node_.effective().process.mps_dir, resource);
    if (open) return std::nullopt;
    return std::move(open.error());
  });
}

MpsGate::~MpsGate() { node_.set_gate({}); }

void MpsGate::follow(const plan::Plan& plan) {
  wanted_ = std::ranges::any_of(
      plan.resources, [](const plan::Resource& resource) { return !resource.mps.empty(); });
  if (wanted_ && !looking_) look_later();
}

void MpsGate::look_later() {
  looking_ = true;
  timer_.expires_after(std::chrono::seconds(1));
  timer_.async_wait([this](std::error_code cancelled) {
    if (cancelled) return;
    looking_ = false;
    if (!wanted_) return;
    look_later();
    if (node_.ask_gate()) changed_();
  });
}

}  // namespace kerf::agent
