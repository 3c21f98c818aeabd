// Hands what is known of the node to the keeper, and its reports to page and metrics.
#include "agent/power_component.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "agent/power_report.h"
#include "base/log.h"
#include "nvml/library.h"
#include "power/journal.h"
#include "power/keeper.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>

extern "C" char** environ;

namespace kerf::agent {
namespace {

constexpr const char* kUsualPath = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

power::Smi smi_of(const config::Effective& effective) {
  power::Smi smi;
  smi.driver_root = effective.config.container_driver_root;
  const char* path = getenv("PATH");
  smi.path = path != nullptr ? path : kUsualPath;
  smi.self = Roots::below("/").proc + "/self/exe";
  for (char** each = environ; *each != nullptr; ++each) smi.environment.emplace_back(*each);
  return smi;
}

class PowerComponent final : public Component {
 public:
  PowerComponent(const config::Effective& effective, const Surroundings& surroundings)
      : surroundings_(surroundings), prints_(effective.process.log_format == "logfmt") {}

  Status start(const config::Effective& effective) {
    power::KeeperOptions options;
    options.library_candidates = nvml::library_candidates(effective.process.nvml_library,
                                                          effective.config.container_driver_root);
    options.power = effective.config.power;
    options.smi = smi_of(effective);
    auto on_report = [this, wanted = std::weak_ptr<bool>(wanted_)](power::ReportPtr report) {
      asio::post(surroundings_.loop, [this, wanted, report = std::move(report)] {
        if (wanted.lock()) take(report);
      });
    };
    auto keeper = power::Keeper::start(std::move(options), on_report);
    if (!keeper) return fail(std::move(keeper.error()));
    keeper_ = std::move(*keeper);
    return {};
  }

  void observe(const View& view) override {
    if (!view.plan) return;  // also: a configuration that is not known yet is not acted on
    keeper_->configure(view.effective.config.power);
    const inventory::Snapshot& snapshot = *view.plan->snapshot;
    power::Node node;
    node.ready = snapshot.driver.state == inventory::DriverState::kReady;
    node.starts = snapshot.driver.starts;
    for (const inventory::Gpu& gpu : snapshot.gpus) {
      const bool lost = gpu.unhealthy && gpu.unhealthy->reason == "gpu_lost";
      node.gpus.push_back({gpu.index, gpu.uuid, gpu.name, gpu.pci_bus_id, lost});
    }
    keeper_->observe(std::move(node));
  }

  void stop() override {
    wanted_.reset();
    keeper_->stop();
  }

  std::vector<metrics::Problem> problems() const override {
    if (!report_) return {};
    return power_problems(*report_);
  }

  std::vector<metrics::Family> families() const override {
    static const power::Report kNone;
    return power_families(report_ ? *report_ : kNone);
  }

 private:
  void take(const power::ReportPtr& report) {
    const bool first = !report_ && !report->unreachable;
    for (const power::GpuReport& gpu : report->gpus) tell(gpu);
    if (first || !report->unreachable) report_ = report;
    if (report->unreachable) {
      // What was found last stays, with the reason why nothing newer is known.
      auto stale = std::make_shared<power::Report>(report_ ? *report_ : *report);
      stale->unreachable = report->unreachable;
      report_ = std::move(stale);
    }
    if (first && prints_) print(*report);
    surroundings_.changed();
  }

  // For people who read a pod's log; in one piece, so that lines of the log do not tear it.
  static void print(const power::Report& report) {
    const std::string text = power::table(report);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  void tell(const power::GpuReport& gpu) {
    using enum metrics::EventLevel;
    if (!gpu.drifted || gpu.failure || !gpu.reading.limit_mw || !gpu.limit_mw) return;
    if (*gpu.reading.limit_mw == *gpu.limit_mw) return;
    surroundings_.note(kWarn, "GPU " + std::to_string(gpu.reading.gpu.index) +
                                  " was found at a power limit of " +
                                  power::watts(*gpu.reading.limit_mw) + " and set to " +
                                  power::watts(*gpu.limit_mw) + " again");
  }

  const Surroundings& surroundings_;
  const bool prints_;
  power::ReportPtr report_;
  std::shared_ptr<bool> wanted_ = std::make_shared<bool>(true);
  std::unique_ptr<power::Keeper> keeper_;
};

}  // namespace

Result<std::unique_ptr<Component>> make_power_component(const config::Effective& effective,
                                                        const Surroundings& surroundings) {
  auto component = std::make_unique<PowerComponent>(effective, surroundings);
  if (Status started = component->start(effective); !started) {
    return fail(std::move(started.error()));
  }
  return component;
}

}  // namespace kerf::agent
