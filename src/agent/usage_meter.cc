#include "agent/usage_meter.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "agent/component.h"
#include "base/clock.h"
#include "base/log.h"
#include "nvml/library.h"
#include "pods/attribute.h"
#include "usage/layout.h"

#include <asio/io_context.hpp>

namespace kerf::agent {
namespace {

using std::chrono::milliseconds;

milliseconds interval_of(const config::Config& config) {
  return milliseconds(config.usage.interval_ns / 1'000'000);
}

// How many shares each device was cut into, whatever resource they are offered as.
usage::Shares shares_of(const plan::Plan& plan) {
  usage::Shares out;
  for (const plan::Resource& resource : plan.resources) {
    for (const plan::Device& device : resource.devices) ++out[device.physical_id];
  }
  return out;
}

}  // namespace

UsageMeter::Membership::~Membership() {
  meter_.users_.erase(user_);
  if (meter_.users_.empty()) meter_.end();
}

UsageMeter::UsageMeter(asio::io_context& loop, Roots roots, std::shared_ptr<SharedPods> pods)
    : loop_(loop), roots_(std::move(roots)), pods_(std::move(pods)) {}

UsageMeter::~UsageMeter() { end(); }

std::unique_ptr<UsageMeter::Membership> UsageMeter::join(const config::Effective& effective,
                                                         User user) {
  const auto at = users_.insert(users_.end(), std::move(user));
  configured_ = interval_of(effective.config);
  settle_interval();
  if (!interest_) {
    interest_ = pods_->follow(effective.process, {interval_, false, [this] {
                                                    if (sampler_)
                                                      sampler_->set_pods(pods_->current());
                                                  }});
  }
  return std::unique_ptr<Membership>(new Membership(*this, at));
}

void UsageMeter::settle_interval() {
  interval_ = configured_;
  if (std::ranges::all_of(users_, [](const User& user) { return user.at_most.has_value(); })) {
    for (const User& user : users_)
      interval_ = std::min(interval_, user.at_most.value_or(interval_));
  }
  if (sampler_) sampler_->set_interval(interval_);
}

void UsageMeter::observe(const View& view) {
  if (!view.plan || users_.empty()) return;
  plan_ = view.plan;
  quotas_ = view.effective.config.usage.quota_annotation;
  configured_ = interval_of(view.effective.config);
  settle_interval();
  if (!sampler_) start_sampler(view.effective);
  std::vector<std::string> uuids;
  if (plan_->snapshot->driver.state == inventory::DriverState::kReady) {
    for (const inventory::Gpu& gpu : plan_->snapshot->gpus) uuids.push_back(gpu.uuid);
  }
  sampler_->set_gpus(std::move(uuids));
}

void UsageMeter::start_sampler(const config::Effective& effective) {
  usage::SamplerOptions options;
  options.library_candidates = nvml::library_candidates(effective.process.nvml_library,
                                                        effective.config.container_driver_root);
  options.roots = roots_;
  options.interval = interval_;
  gate_ = std::make_shared<kubelet::Gate>(loop_);
  sampler_ = std::make_unique<usage::Sampler>(
      std::move(options), [this, gate = gate_](usage::Sample sample) {
        gate->post([this, sample = std::move(sample)] { take(sample); });
      });
  sampler_->set_pods(pods_->current());
}

void UsageMeter::end() {
  if (gate_) gate_->close();
  sampler_.reset();
  interest_.reset();
}

usage::SamplerStats UsageMeter::stats() const {
  return sampler_ ? sampler_->stats() : usage::SamplerStats();
}

void UsageMeter::take(const usage::Sample& sample) {
  if (!plan_) return;
  const inventory::Snapshot& snapshot = *plan_->snapshot;
  const std::vector<pods::PodDevice> held = pods::attribute(*pods_->current(), snapshot);
  const std::map<std::string, usage::Layout> layouts =
      usage::layouts_of(snapshot, shares_of(*plan_), held, quotas_);
  account_.keep_only(layouts);
  Round round{sample, {}, system_clock().mono_ms()};
  for (const auto& [uuid, layout] : layouts) round.missing.insert(uuid);
  for (const usage::GpuFigures& figures : sample.gpus) {
    auto layout = layouts.find(figures.uuid);
    if (layout == layouts.end()) continue;
    account_.add(figures, layout->second);
    round.missing.erase(figures.uuid);
  }
  for (const std::string& uuid : round.missing) account_.missed(layouts.at(uuid), round.now_ms);
  tell_failures(sample);
  for (const User& user : users_) user.taken(round);
}

// Once each; what is wrong with the GPU is the health room's to say.
void UsageMeter::tell_failures(const usage::Sample& sample) {
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

}  // namespace kerf::agent
