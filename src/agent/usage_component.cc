#include "agent/usage_component.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "agent/api_client.h"
#include "agent/memory_police.h"
#include "agent/pod_actions.h"
#include "agent/usage_meter.h"
#include "agent/usage_view.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"

#include <asio/io_context.hpp>

namespace kerf::agent {
namespace {

// A process may end between being listed and being looked for; one out of sight stays so.
constexpr unsigned kUnseenRounds = 3;

metrics::Family lone(const char* name, const char* help, metrics::Type type, double value) {
  return {name, help, type, {{{}, value}}, {}};
}

class UsageComponent final : public Component {
 public:
  UsageComponent(const config::Effective& effective, const Surroundings& surroundings)
      : surroundings_(surroundings), options_(effective.config.usage) {
    if (Status connected = connect(effective.process); !connected) {
      no_access_ = std::move(connected.error());
      log::info("usage", "without the API server: no quotas, Events or evictions",
                {{"why", no_access_->text()}});
    }
    police_ = std::make_unique<MemoryPolice>(actions_.get(), surroundings.note);
    police_->configure(options_);
    membership_ = surroundings.usage->join(
        effective, {std::nullopt, [this](const UsageMeter::Round& round) { take(round); }});
    interest_ = surroundings.pods->follow(
        effective.process,
        {surroundings.usage->interval(), client_ != nullptr, [this] { pods_changed(); }});
  }
  ~UsageComponent() override { stop(); }

  void observe(const View& view) override {
    if (!view.plan) return;
    meter().observe(view);
    if (view.configured_ms == configured_ms_) return;
    configured_ms_ = view.configured_ms;
    options_ = view.effective.config.usage;
    police_->configure(options_);
  }

  void stop() override {
    membership_.reset();
    interest_.reset();
  }

  void describe(metrics::NodeStatus& node) const override {
    describe_usage(meter().account(), history_, police_->over(), meter().interval().count(), node);
  }

  std::vector<metrics::Problem> problems() const override {
    std::vector<metrics::Problem> out;
    auto add = [&out](std::string what, std::string subject, std::string remedy) {
      out.push_back(
          {metrics::Severity::kDegraded, std::move(what), std::move(subject), std::move(remedy)});
    };
    const pods::PodsPtr pods = surroundings_.pods->current();
    if (pods->state == pods::State::kAbsent || pods->state == pods::State::kStale) {
      add("it is not known who holds which device: " + pods->detail, "PodResources",
          "Mount the kubelet's pod-resources directory, or set --pod-resources-socket.");
    }
    if (unseen_rounds_ >= kUnseenRounds) {
      add("processes on GPUs are out of sight, so that it is not known whose they are",
          surroundings_.roots.proc,
          "Set hostPID: true for the container with the component usage.");
    }
    if (no_access_ && options_.over_share != config::OverShare::kNone) {
      add("the memory watchdog cannot tell anybody: " + no_access_->what, no_access_->subject,
          no_access_->hint.empty() ? "" : no_access_->hint + ".");
    }
    std::optional<Error> failed = police_->problem();
    if (!failed) failed = surroundings_.pods->watch_error();
    if (failed) {
      add("usage: " + failed->what, failed->subject,
          failed->hint.empty() ? "" : failed->hint + ".");
    }
    return out;
  }

  std::vector<metrics::Family> families() const override {
    static const inventory::Snapshot kNone;
    const plan::PlanPtr& plan = meter().plan();
    std::vector<metrics::Family> out =
        usage_families(meter().account(), plan ? *plan->snapshot : kNone, police_->over());
    for (metrics::Family& each : police_->families()) out.push_back(std::move(each));
    using metrics::Type;
    const bool up = surroundings_.pods->current()->state == pods::State::kCurrent;
    out.push_back(lone("kerf_pod_resources_up", "Whether the kubelet says who holds which device.",
                       Type::kGauge, up ? 1 : 0));
    const usage::SamplerStats stats = meter().stats();
    out.push_back(lone("kerf_usage_rounds_total", "Times that GPUs were asked who uses them.",
                       Type::kCounter, static_cast<double>(stats.rounds)));
    out.push_back(lone("kerf_usage_nvml_calls_total", "Calls made to ask so.", Type::kCounter,
                       static_cast<double>(stats.nvml.calls)));
    out.push_back(lone("kerf_usage_nvml_timeouts_total", "Times that a GPU did not answer in time.",
                       Type::kCounter, static_cast<double>(stats.lane.timeouts)));
    out.push_back(lone("kerf_usage_processes_unseen",
                       "Processes on GPUs that are not to be found on the host.", Type::kGauge,
                       last_.unseen));
    out.push_back(lone("kerf_usage_processes_unnamed",
                       "Processes on GPUs in pods whose names nobody knows.", Type::kGauge,
                       last_.unnamed));
    return out;
  }

 private:
  struct Last {
    unsigned unseen = 0;
    unsigned unnamed = 0;
  };

  Status connect(const config::ProcessOptions& process) {
    if (Status named = needs_node_name(process); !named) return named;
    auto client = surroundings_.pods->client(process);
    if (!client) return fail(std::move(client.error()));
    client_ = std::move(*client);
    actions_ = std::make_unique<PodActions>(*client_, system_clock(), process.node_name, "kerf");
    return {};
  }

  void pods_changed() {
    pass_on_holders();
    surroundings_.changed();
  }

  void pass_on_holders() {
    const pods::PodsPtr pods = surroundings_.pods->current();
    if (pods->state != pods::State::kCurrent || pods->asked_ms == told_ms_) return;
    told_ms_ = pods->asked_ms;
    std::vector<ContainerDevices> held;
    for (const pods::Container& container : pods->containers) {
      ContainerDevices& each = held.emplace_back();
      const pods::Owner& owner = container.owner;
      each.owner = owner.name_space + "/" + owner.pod + "/" + owner.container;
      for (const auto& devices : container.devices) {
        each.ids.insert(each.ids.end(), devices.ids.begin(), devices.ids.end());
      }
    }
    surroundings_.held(held, pods->asked_ms);
  }

  void take(const UsageMeter::Round& round) {
    pass_on_holders();
    const auto& gpus = meter().account().gpus();
    std::set<std::string> there = round.missing;
    for (const auto& [uuid, gpu] : gpus) there.insert(uuid);
    history_.keep_only(there);
    for (const std::string& uuid : there) {
      history_.add(uuid, round.missing.contains(uuid) ? nullptr : &gpus.at(uuid));
    }
    last_ = {round.sample.unseen, round.sample.unnamed};
    unseen_rounds_ = round.sample.unseen > 0 ? unseen_rounds_ + 1 : 0;
    police_->look(meter().account().uses(), round.now_ms);
    surroundings_.changed();
  }

  UsageMeter& meter() const { return *surroundings_.usage; }

  const Surroundings& surroundings_;
  config::UsageOptions options_;
  std::optional<Error> no_access_;
  std::int64_t configured_ms_ = -1;
  std::int64_t told_ms_ = 0;
  UsageHistory history_;
  Last last_;
  unsigned unseen_rounds_ = 0;
  std::shared_ptr<kube::Client> client_;  // before those who use it
  std::unique_ptr<PodActions> actions_;
  std::unique_ptr<MemoryPolice> police_;  // never null
  std::unique_ptr<SharedPods::Interest> interest_;
  std::unique_ptr<UsageMeter::Membership> membership_;
};

}  // namespace

Result<std::unique_ptr<Component>> make_usage_component(const config::Effective& effective,
                                                        const Surroundings& surroundings) {
  return std::make_unique<UsageComponent>(effective, surroundings);
}

}  // namespace kerf::agent
