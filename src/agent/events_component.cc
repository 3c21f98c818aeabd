#include "agent/events_component.h"

#include <algorithm>
#include <optional>
#include <unistd.h>
#include <utility>

#include "agent/api_client.h"
#include "agent/kube_events.h"
#include "agent/node_condition.h"
#include "base/clock.h"
#include "base/log.h"
#include "inventory/differ.h"
#include "kube/client.h"

namespace kerf::agent {
namespace {

using inventory::DriverState;

class EventsComponent final : public Component {
 public:
  EventsComponent(const config::ProcessOptions& process, const Surroundings& surroundings)
      : surroundings_(surroundings) {
    if (Status connected = connect(process); !connected) {
      no_access_ = std::move(connected.error());
      log::warn("events", "no Events are sent", *no_access_);
    }
  }

  void observe(const View& view) override {
    if (!events_ || !view.plan) return;
    const inventory::SnapshotPtr& now = view.plan->snapshot;
    driver_was_ready_ |= now->driver.state == DriverState::kReady;
    if (now != before_) {
      for (Saying& say : sayings(before_, *now)) {
        events_->send(std::move(say.reason), std::move(say.message), say.warning);
      }
      before_ = now;
    }
    condition_->set(condition_of(*now, driver_was_ready_));
    bool first = configured_ms_ < 0;
    if (std::exchange(configured_ms_, view.configured_ms) == view.configured_ms || first) return;
    const std::string& file = view.effective.process.config_file;
    events_->send("ConfigApplied",
                  file.empty() ? "the defaults are in force" : file + " is in force", false);
  }

  void configuration_refused(const std::string& why) override {
    if (!events_) return;
    events_->send("ConfigRefused", "the configuration before stays in force: " + why, true);
  }

  void stop() override {
    condition_.reset();
    events_.reset();
    client_.reset();
  }

  std::vector<metrics::Problem> problems() const override {
    const std::optional<Error>* error = &no_access_;
    if (condition_ && condition_->error()) error = &condition_->error();
    if (events_ && events_->error()) error = &events_->error();
    if (!*error) return {};
    const Error& e = **error;
    return {{metrics::Severity::kDegraded,
             "Events and the node condition cannot be sent: " + e.what, e.subject,
             e.hint.empty() ? "" : e.hint + "."}};
  }

  std::vector<metrics::Family> families() const override {
    auto counter = [](const char* name, const char* help, std::uint64_t value) {
      return metrics::Family{
          name, help, metrics::Type::kCounter, {{{}, static_cast<double>(value)}}, {}};
    };
    return {
        counter("kerf_kube_events_sent_total", "Kubernetes Events sent about the node.",
                events_ ? events_->sent() : 0),
        counter("kerf_kube_events_dropped_total",
                "Kubernetes Events that were not sent, because there were too many.",
                events_ ? events_->dropped() : 0),
        counter("kerf_node_condition_writes_total", "Times that the node's condition was written.",
                condition_ ? condition_->written() : 0)};
  }

 private:
  Status connect(const config::ProcessOptions& process) {
    if (Status named = needs_node_name(process); !named) return named;
    Result<kube::Access> access = find_api(process);
    if (!access) return fail(std::move(access.error()));
    client_ = std::make_unique<kube::Client>(surroundings_.loop, std::move(*access),
                                             api_options(process, surroundings_.version));
    events_ = std::make_unique<KubeEvents>(surroundings_.loop, system_clock(), *client_,
                                           process.node_name, "kerf", surroundings_.changed);
    condition_ = std::make_unique<ConditionWriter>(
        surroundings_.loop, system_clock(),
        [this](kube::Request request, kube::Answer answer) {
          client_->request(std::move(request), std::move(answer));
        },
        process.node_name, surroundings_.changed);
    return {};
  }

  const Surroundings& surroundings_;
  std::optional<Error> no_access_;
  std::unique_ptr<kube::Client> client_;  // before those who use it
  std::unique_ptr<KubeEvents> events_;
  std::unique_ptr<ConditionWriter> condition_;
  inventory::SnapshotPtr before_;
  bool driver_was_ready_ = false;
  std::int64_t configured_ms_ = -1;
};

std::optional<Saying> about_driver(DriverState before, const inventory::Driver& after) {
  bool was = before == DriverState::kReady;
  bool is = after.state == DriverState::kReady;
  if (was == is) return {};
  if (is) return Saying{"DriverRecovered", "the driver answers again", false};
  return Saying{"DriverLost",
                std::string("the driver is ") + inventory::to_string(after.state) +
                    (after.detail.empty() ? "" : ": " + after.detail),
                true};
}

}  // namespace

std::vector<Saying> sayings(const inventory::SnapshotPtr& before,
                            const inventory::Snapshot& after) {
  using What = inventory::Change::What;
  std::vector<Saying> out;
  if (before) {
    if (auto say = about_driver(before->driver.state, after.driver)) out.push_back(std::move(*say));
  } else if (after.driver.state == DriverState::kFailed ||
             after.driver.state == DriverState::kStuck) {
    if (auto say = about_driver(DriverState::kReady, after.driver)) out.push_back(std::move(*say));
  }
  // While the driver is away all its devices are; one Event says so.
  bool with_driver = before && before->driver.state == DriverState::kReady &&
                     after.driver.state == DriverState::kReady;
  for (const inventory::Change& c :
       inventory::diff(before ? *before : inventory::Snapshot(), after)) {
    if (c.what == What::kUnhealthy) {
      out.push_back({"GPUUnhealthy", c.subject + " is unhealthy: " + c.text, true});
    } else if (c.what == What::kRecovered) {
      out.push_back({"GPURecovered", c.subject + " is healthy again, " + c.text, false});
    } else if (c.what == What::kAdded && with_driver) {
      out.push_back({"GPUAdded", c.text + " " + c.subject + " appeared", false});
    } else if (c.what == What::kRemoved && with_driver) {
      out.push_back({"GPURemoved", c.text + " " + c.subject + " disappeared", true});
    }
  }
  return out;
}

Result<std::unique_ptr<Component>> make_events_component(const config::Effective& effective,
                                                         const Surroundings& surroundings) {
  return std::make_unique<EventsComponent>(effective.process, surroundings);
}

}  // namespace kerf::agent
