#include "pods/follower.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "kube/client.h"
#include "kubelet/gate.h"
#include "kubelet/transport.h"
#include "pods/codec.h"
#include "pods/facts.h"

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace kerf::pods {

using std::chrono::milliseconds;

struct Follower::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io, FollowerOptions opts, std::function<void()> on_change)
      : loop(io), options(std::move(opts)), changed(std::move(on_change)), timer(io) {}

  void begin(kube::Client* client) {
    gate = std::make_shared<kubelet::Gate>(loop);
    ask_after(milliseconds(0));
    if (client == nullptr || options.node.empty()) return;
    watch = client->watch(
        "/api/v1/pods", "fieldSelector=spec.nodeName%3D" + kube::escape(options.node),
        {[this](std::span<const std::string> objects) { listed(objects); },
         [this](kube::Change change, std::string_view object) { one_changed(change, object); },
         [this](const Error* error) { trouble(error); }});
  }

  void end() {
    stopped = true;
    timer.cancel();
    watch.reset();
    if (call) call->cancel();
    if (gate) gate->close();
  }

  // --- the kubelet ----------------------------------------------------------------------------
  void ask_after(milliseconds wait) {
    if (stopped || options.socket.empty()) return;
    timer.expires_after(wait);
    timer.async_wait([weak = weak_from_this()](std::error_code cancelled) {
      if (auto self = weak.lock(); self && !cancelled) self->ask();
    });
  }

  void ask() {
    if (stopped || asking) return;
    asking = true;
    again = false;
    asked_ms = options.clock->wall_ms();
    call = kubelet::call(options.socket, kList, "", options.deadline,
                         [gate = gate, weak = weak_from_this()](Result<std::string> answer) {
                           gate->post([weak, answer = std::move(answer)]() mutable {
                             if (auto self = weak.lock()) self->answered(std::move(answer));
                           });
                         });
  }

  void answered(Result<std::string> answer) {
    if (stopped) return;
    asking = false;
    call.reset();
    Result<std::vector<Container>> containers =
        answer ? decode_list(*answer) : Result<std::vector<Container>>(fail(answer.error()));
    auto next = std::make_shared<Pods>(*pods);
    if (containers) {
      next->state = State::kCurrent;
      next->detail.clear();
      next->asked_ms = asked_ms;
      next->containers = std::move(*containers);
      pause = options.interval;
    } else {
      Error& error = containers.error();
      error.subject = options.socket;
      if (error.kind == Kind::kNotFound) {
        error.what = "the kubelet's PodResources socket does not exist";
        error.hint = "mount its directory, and see that the kubelet runs";
      }
      const bool answered_once = next->state == State::kCurrent || next->state == State::kStale;
      next->state = answered_once ? State::kStale : State::kAbsent;
      next->detail = error.text();
      // A kubelet that was there is back soon.
      pause = answered_once ? options.interval : std::min(2 * pause, options.last_pause);
    }
    tell(*next);
    put(std::move(next));
    ask_after(again ? milliseconds(0) : pause);
  }

  void tell(const Pods& next) const {
    if (next.state == pods->state && next.detail == pods->detail) return;
    if (next.state == State::kCurrent) {
      log::info("pods", "the kubelet tells who holds which device",
                {{"containers", next.containers.size()}});
    } else {
      log::warn("pods", "the kubelet does not tell who holds which device",
                {{"state", to_string(next.state)}, {"err", next.detail}});
    }
  }

  // --- the API server -------------------------------------------------------------------------
  void listed(std::span<const std::string> objects) {
    auto next = std::make_shared<Pods>(*pods);
    next->facts.clear();
    for (const std::string& object : objects) add(*next, object);
    put(std::move(next));
  }

  void one_changed(kube::Change change, std::string_view object) {
    auto next = std::make_shared<Pods>(*pods);
    if (change == kube::Change::kDeleted) {
      if (auto facts = pod_facts(object)) next->facts.erase(facts->uid);
    } else {
      add(*next, object);
    }
    put(std::move(next));
  }

  static void add(Pods& into, std::string_view object) {
    Result<PodFacts> facts = pod_facts(object);
    if (!facts) return log::warn("pods", "a pod is ignored", facts.error());
    auto& at = into.facts[facts->uid];
    if (!at || *at != *facts) at = std::make_shared<const PodFacts>(std::move(*facts));
  }

  void trouble(const Error* error) {
    const bool failed_before = watch_error.has_value();
    watch_error.reset();
    if (error != nullptr) watch_error = *error;
    if (error != nullptr && !failed_before) {
      log::warn("pods", "the API server does not tell of this node's pods", *error);
    }
    if (failed_before != watch_error.has_value()) changed();
  }

  void put(std::shared_ptr<Pods> next) {
    const bool same = next->state == pods->state && next->detail == pods->detail &&
                      next->containers == pods->containers && next->facts == pods->facts;
    pods = std::move(next);
    if (!same) changed();
  }

  asio::io_context& loop;
  FollowerOptions options;
  std::function<void()> changed;
  asio::steady_timer timer;
  std::shared_ptr<kubelet::Gate> gate;
  std::shared_ptr<kubelet::Call> call;
  std::unique_ptr<kube::Watch> watch;
  std::optional<Error> watch_error;
  PodsPtr pods = std::make_shared<const Pods>();
  std::int64_t asked_ms = 0;
  milliseconds pause{1'000};
  bool asking = false;
  bool again = false;
  bool stopped = false;
};

Follower::Follower(asio::io_context& loop, FollowerOptions options, kube::Client* client,
                   std::function<void()> changed)
    : impl_(std::make_shared<Impl>(loop, std::move(options), std::move(changed))) {
  impl_->begin(client);
}

Follower::~Follower() { impl_->end(); }

PodsPtr Follower::current() const { return impl_->pods; }

void Follower::refresh() {
  if (impl_->asking) {
    impl_->again = true;
  } else {
    impl_->ask_after(milliseconds(0));
  }
}

const std::optional<Error>& Follower::watch_error() const { return impl_->watch_error; }

}  // namespace kerf::pods
