#include "agent/shared_pods.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "agent/api_client.h"
#include "base/log.h"
#include "pods/follower.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace kerf::agent {

SharedPods::Interest::~Interest() {
  pods_.wants_.erase(want_);
  // The last one out turns off the light; what the others want less is not worth a fresh start.
  if (pods_.wants_.empty()) pods_.follower_.reset();
}

SharedPods::SharedPods(asio::io_context& loop, std::string version)
    : loop_(loop), version_(std::move(version)) {}

SharedPods::~SharedPods() { *alive_ = false; }

std::unique_ptr<SharedPods::Interest> SharedPods::follow(const config::ProcessOptions& process,
                                                         Want want) {
  if (!process_) process_ = process;
  const auto at = wants_.insert(wants_.end(), std::move(want));
  if (!std::exchange(adjusting_, true)) {
    asio::post(loop_, [this, alive = alive_] {
      if (*alive) adjust();
    });
  }
  return std::unique_ptr<Interest>(new Interest(*this, at));
}

void SharedPods::adjust() {
  adjusting_ = false;
  if (wants_.empty() || !process_) return;
  Want all;
  all.interval = std::ranges::min_element(wants_, {}, &Want::interval)->interval;
  all.facts = std::ranges::any_of(wants_, &Want::facts);
  if (follower_ && running_.interval <= all.interval && running_.facts >= all.facts) return;
  kube::Client* tells = nullptr;
  if (all.facts) {
    if (auto reached = client(*process_)) tells = reached->get();
  }
  pods::FollowerOptions options;
  options.socket = process_->pod_resources_socket;
  options.interval = all.interval;
  options.node = process_->node_name;
  running_ = std::move(all);
  follower_ =
      std::make_unique<pods::Follower>(loop_, std::move(options), tells, [this] { tell(); });
}

// One that is told may lose its interest, or that of another.
void SharedPods::tell() const {
  std::vector<const Want*> told;
  while (true) {
    const auto next = std::ranges::find_if(
        wants_, [&](const Want& want) { return std::ranges::find(told, &want) == told.end(); });
    if (next == wants_.end()) return;
    told.push_back(&*next);
    if (const auto changed = next->changed) changed();
  }
}

pods::PodsPtr SharedPods::current() const {
  static const auto* nothing = new pods::PodsPtr(std::make_shared<const pods::Pods>());
  return follower_ ? follower_->current() : *nothing;
}

std::optional<Error> SharedPods::watch_error() const {
  return follower_ ? follower_->watch_error() : std::nullopt;
}

Result<std::shared_ptr<kube::Client>> SharedPods::client(const config::ProcessOptions& process) {
  if (client_) return client_;
  Result<kube::Access> access = find_api(process);
  if (!access) return fail(std::move(access.error()));
  client_ =
      std::make_shared<kube::Client>(loop_, std::move(*access), api_options(process, version_));
  return client_;
}

}  // namespace kerf::agent
