#include "agent/pod_events_component.h"

#include <chrono>
#include <optional>
#include <utility>

#include "agent/api_client.h"
#include "agent/kube_events.h"
#include "agent/pod_news.h"
#include "agent/shared_pods.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "pods/attribute.h"

namespace kerf::agent {
namespace {

// A driver that fails concerns every pod of a node at once: 16 GPUs of ten slices.
constexpr EventLimits kLimits{.burst = 32, .refill_ms = 1'000, .held = 512};
constexpr std::chrono::seconds kAskEvery{5};

class PodEventsComponent final : public Component {
 public:
  PodEventsComponent(const config::ProcessOptions& process, const Surroundings& surroundings)
      : surroundings_(surroundings) {
    if (Status connected = connect(process); !connected) {
      no_access_ = std::move(connected.error());
      log::warn("events", "pods are not told of their GPUs", *no_access_);
      return;
    }
    interest_ = surroundings.pods->follow(process, {kAskEvery, true, [this] { look(); }});
  }
  ~PodEventsComponent() override { stop(); }

  void observe(const View& view) override {
    if (!view.plan || snapshot_ == view.plan->snapshot) return;
    snapshot_ = view.plan->snapshot;
    look();
  }

  void stop() override {
    interest_.reset();
    events_.reset();
  }

  std::vector<metrics::Problem> problems() const override {
    std::optional<Error> error = no_access_;
    if (events_ && events_->error()) error = events_->error();
    if (interest_ && !error) error = surroundings_.pods->watch_error();
    if (error) {
      return {{metrics::Severity::kDegraded, "pods cannot be told of their GPUs: " + error->what,
               error->subject, error->hint.empty() ? "" : error->hint + "."}};
    }
    const pods::PodsPtr pods = surroundings_.pods->current();
    if (pods->state != pods::State::kAbsent) return {};
    return {
        {metrics::Severity::kDegraded,
         "pods cannot be told of their GPUs: the kubelet does not say who holds which device: " +
             pods->detail,
         "PodResources",
         "Mount the kubelet's pod-resources directory, or set --pod-resources-socket."}};
  }

  std::vector<metrics::Family> families() const override {
    auto counter = [](const char* name, const char* help, std::uint64_t value) {
      return metrics::Family{
          name, help, metrics::Type::kCounter, {{{}, static_cast<double>(value)}}, {}};
    };
    return {counter("kerf_pod_events_sent_total",
                    "Kubernetes Events sent about pods on unhealthy GPUs.",
                    events_ ? events_->sent() : 0),
            counter("kerf_pod_events_dropped_total",
                    "Kubernetes Events about pods that were not sent, because there were too many.",
                    events_ ? events_->dropped() : 0)};
  }

 private:
  Status connect(const config::ProcessOptions& process) {
    if (Status named = needs_node_name(process); !named) return named;
    auto client = surroundings_.pods->client(process);
    if (!client) return fail(std::move(client.error()));
    client_ = std::move(*client);
    events_ =
        std::make_unique<KubeEvents>(surroundings_.loop, system_clock(), *client_,
                                     process.node_name, "kerf", surroundings_.changed, kLimits);
    return {};
  }

  void look() {
    if (!events_ || !snapshot_) return;
    const std::vector<pods::PodDevice> held =
        pods::attribute(*surroundings_.pods->current(), *snapshot_);
    for (PodSaying& say : news_.look(held, *snapshot_)) {
      events_->send(std::move(say.reason), std::move(say.message), say.warning, std::move(say.pod));
    }
  }

  const Surroundings& surroundings_;
  std::optional<Error> no_access_;
  std::shared_ptr<kube::Client> client_;  // before those who use it
  std::unique_ptr<KubeEvents> events_;
  std::unique_ptr<SharedPods::Interest> interest_;
  inventory::SnapshotPtr snapshot_;
  PodNews news_;
};

}  // namespace

Result<std::unique_ptr<Component>> make_pod_events_component(const config::Effective& effective,
                                                             const Surroundings& surroundings) {
  return std::make_unique<PodEventsComponent>(effective.process, surroundings);
}

}  // namespace kerf::agent
