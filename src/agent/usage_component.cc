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
#include "agent/usage_view.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "kubelet/gate.h"
#include "nvml/library.h"
#include "pods/attribute.h"
#include "usage/account.h"
#include "usage/layout.h"
#include "usage/sampler.h"

#include <asio/io_context.hpp>

namespace kerf::agent {
namespace {

using std::chrono::milliseconds;

// A process may end between being listed and being looked for; one out of sight stays so.
constexpr unsigned kUnseenRounds = 3;

milliseconds interval_of(const config::UsageOptions& options) {
  return milliseconds(options.interval_ns / 1'000'000);
}

// How many shares each device was cut into, whatever resource they are offered as.
usage::Shares shares_of(const plan::Plan& plan) {
  usage::Shares out;
  for (const plan::Resource& resource : plan.resources) {
    for (const plan::Device& device : resource.devices) ++out[device.physical_id];
  }
  return out;
}

metrics::Family lone(const char* name, const char* help, metrics::Type type, double value) {
  return {name, help, type, {{{}, value}}, {}};
}

class UsageComponent final : public Component {
 public:
  UsageComponent(const config::Effective& effective, const Surroundings& surroundings)
      : surroundings_(surroundings),
        options_(effective.config.usage),
        gate_(std::make_shared<kubelet::Gate>(surroundings.loop)) {
    if (Status connected = connect(effective.process); !connected) {
      no_access_ = std::move(connected.error());
      log::info("usage", "without the API server: no quotas, Events or evictions",
                {{"why", no_access_->text()}});
    }
    police_ = std::make_unique<MemoryPolice>(actions_.get(), surroundings.note);
    police_->configure(options_);
    interest_ = surroundings.pods->follow(
        effective.process, {interval_of(options_), client_ != nullptr, [this] { pods_changed(); }});
  }
  ~UsageComponent() override { stop(); }

  void observe(const View& view) override {
    if (!view.plan) return;
    plan_ = view.plan;
    if (!sampler_) start_sampler(view.effective);
    if (view.configured_ms != configured_ms_) {
      configured_ms_ = view.configured_ms;
      options_ = view.effective.config.usage;
      police_->configure(options_);
      sampler_->set_interval(interval_of(options_));
    }
    std::vector<std::string> uuids;
    if (plan_->snapshot->driver.state == inventory::DriverState::kReady) {
      for (const inventory::Gpu& gpu : plan_->snapshot->gpus) uuids.push_back(gpu.uuid);
    }
    sampler_->set_gpus(std::move(uuids));
  }

  void stop() override {
    gate_->close();
    sampler_.reset();
    interest_.reset();
  }

  void describe(metrics::NodeStatus& node) const override {
    describe_usage(account_, history_, police_->over(), options_.interval_ns / 1'000'000, node);
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
    std::vector<metrics::Family> out =
        usage_families(account_, plan_ ? *plan_->snapshot : kNone, police_->over());
    for (metrics::Family& each : police_->families()) out.push_back(std::move(each));
    using metrics::Type;
    const bool up = surroundings_.pods->current()->state == pods::State::kCurrent;
    out.push_back(lone("kerf_pod_resources_up", "Whether the kubelet says who holds which device.",
                       Type::kGauge, up ? 1 : 0));
    const usage::SamplerStats stats = sampler_ ? sampler_->stats() : usage::SamplerStats();
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

  void start_sampler(const config::Effective& effective) {
    usage::SamplerOptions options;
    options.library_candidates = nvml::library_candidates(effective.process.nvml_library,
                                                          effective.config.container_driver_root);
    options.roots = surroundings_.roots;
    options.interval = interval_of(options_);
    sampler_ = std::make_unique<usage::Sampler>(
        std::move(options), [this, gate = gate_](usage::Sample sample) {
          gate->post([this, sample = std::move(sample)] { take(sample); });
        });
    sampler_->set_pods(surroundings_.pods->current());
  }

  void pods_changed() {
    if (sampler_) sampler_->set_pods(surroundings_.pods->current());
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

  void take(const usage::Sample& sample) {
    if (!plan_) return;
    pass_on_holders();
    const inventory::Snapshot& snapshot = *plan_->snapshot;
    const std::vector<pods::PodDevice> held =
        pods::attribute(*surroundings_.pods->current(), snapshot);
    const std::map<std::string, usage::Layout> layouts =
        usage::layouts_of(snapshot, shares_of(*plan_), held, options_.quota_annotation);
    account_.keep_only(layouts);
    const std::int64_t now = system_clock().mono_ms();
    std::set<std::string> missing;
    for (const auto& [uuid, layout] : layouts) missing.insert(uuid);
    history_.keep_only(missing);
    for (const usage::GpuFigures& figures : sample.gpus) {
      auto layout = layouts.find(figures.uuid);
      if (layout == layouts.end()) continue;
      account_.add(figures, layout->second);
      history_.add(figures.uuid, &account_.gpus().at(figures.uuid));
      missing.erase(figures.uuid);
    }
    for (const std::string& uuid : missing) {
      account_.missed(layouts.at(uuid), now);
      history_.add(uuid, nullptr);
    }
    tell_failures(sample);
    last_ = {sample.unseen, sample.unnamed};
    unseen_rounds_ = sample.unseen > 0 ? unseen_rounds_ + 1 : 0;
    police_->look(account_.uses(), now);
    surroundings_.changed();
  }

  // Once each; what is wrong with the GPU is the health room's to say.
  void tell_failures(const usage::Sample& sample) {
    std::set<std::string> now;
    if (sample.driver) now.insert("driver");
    for (const auto& [uuid, error] : sample.failures) now.insert(uuid);
    for (const std::string& each : now) {
      if (failing_.contains(each)) continue;
      auto failure = sample.failures.find(each);
      if (failure != sample.failures.end()) {
        log::warn("usage", "use is not known", failure->second);
      } else if (sample.driver) {
        log::warn("usage", "use is not known", *sample.driver);
      }
    }
    for (const std::string& each : failing_) {
      if (!now.contains(each)) log::info("usage", "use is known again", {{"gpu", each}});
    }
    failing_ = std::move(now);
  }

  const Surroundings& surroundings_;
  config::UsageOptions options_;
  std::shared_ptr<kubelet::Gate> gate_;
  std::optional<Error> no_access_;
  plan::PlanPtr plan_;
  std::int64_t configured_ms_ = -1;
  std::int64_t told_ms_ = 0;
  usage::Account account_;
  UsageHistory history_;
  Last last_;
  unsigned unseen_rounds_ = 0;
  std::set<std::string> failing_;
  std::shared_ptr<kube::Client> client_;  // before those who use it
  std::unique_ptr<PodActions> actions_;
  std::unique_ptr<MemoryPolice> police_;  // never null
  std::unique_ptr<SharedPods::Interest> interest_;
  std::unique_ptr<usage::Sampler> sampler_;  // last: its thread uses what is above
};

}  // namespace

Result<std::unique_ptr<Component>> make_usage_component(const config::Effective& effective,
                                                        const Surroundings& surroundings) {
  return std::make_unique<UsageComponent>(effective, surroundings);
}

}  // namespace kerf::agent
