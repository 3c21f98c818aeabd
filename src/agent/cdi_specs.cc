// From a plan to files, and from what became of them to what may be named.
#include "agent/cdi_specs.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "cdi/driver_tree.h"
#include "cdi/hooks.h"
#include "cdi/render.h"

#include <asio/io_context.hpp>

namespace kerf::agent {
namespace {

constexpr std::chrono::seconds kCalm{30};
constexpr std::chrono::seconds kTrouble{3};

cdi::DriverTree look(const Roots& roots, const plan::Plan& plan) {
  cdi::DiscoverOptions options;
  options.driver_version = plan.snapshot->driver.version;
  options.explicit_libraries = cdi::has_feature(plan.config, "enable-explicit-driver-libraries");
  options.hook_programs = cdi::hook_programs(plan.config);
  return discover(cdi::where(roots, plan.config), *plan.snapshot, options);
}

bool asked_for(const config::Config& config, const std::string& device_class) {
  if (device_class == "imex-channel") return !config.imex_channel_ids.empty();
  if (device_class == "gdrcopy") return config.gdrcopy_enabled;
  if (device_class == "gds") return config.gds_enabled;
  if (device_class == "mofed") return config.mofed_enabled;
  return true;
}

}  // namespace

CdiSpecs::CdiSpecs(asio::io_context& loop, Roots roots,
                   std::function<void(allocate::CdiFacts)> changed)
    : changed_(std::move(changed)),
      roots_(std::move(roots)),
      directory_(join_path(roots_.var, "run/cdi")),
      timer_(loop) {}

allocate::CdiFacts CdiSpecs::apply(const plan::PlanPtr& plan,
                                   const std::vector<int>& imex_channels) {
  plan_ = plan;
  imex_channels_ = imex_channels;
  facts_ = bring_about();
  return facts_;
}

allocate::CdiFacts CdiSpecs::bring_about() {
  allocate::CdiFacts facts;
  problems_.clear();
  saying_.clear();
  timer_.cancel();
  if (!plan_ || !plan_->snapshot || !cdi::wanted(plan_->config)) {
    said_.clear();
    return facts;
  }
  const config::Config& config = plan_->config;
  const inventory::Snapshot& snapshot = *plan_->snapshot;
  const cdi::DriverTree tree = look(roots_, *plan_);
  cdi::Specs specs = make_specs(snapshot, config, tree, imex_channels_);
  for (const std::string& note : specs.notes) say_once(note);
  // While the driver is away or hangs nothing new is known about the GPUs: the last state stays.
  const bool gpus_known = snapshot.driver.state == inventory::DriverState::kReady;
  if (specs.gpu_trouble && gpus_known) report("gpu", *specs.gpu_trouble, facts);
  for (const cdi::Spec& spec : specs.specs) {
    if (spec.device_class == "gpu" && !gpus_known) continue;
    write(spec, facts);
  }
  if (!gpus_known || specs.gpu_trouble) {
    if (auto last = written_.find("gpu"); last != written_.end() && !gpus_known) {
      offer_what_stands(last->second, facts);
    }
  }
  for (const char* each : cdi::kClasses) {
    const std::string device_class = each;
    const bool has = std::ranges::any_of(
        specs.specs, [&](const cdi::Spec& s) { return s.device_class == device_class; });
    if (has || (device_class == "gpu" && (!gpus_known || specs.gpu_trouble))) continue;
    if (asked_for(config, device_class)) {
      say_once("nothing to put into a CDI specification of class " + device_class);
    }
    remove(device_class);
  }
  check_hook_program(tree);
  said_ = saying_;
  look_again_later();
  return facts;
}

void CdiSpecs::write(const cdi::Spec& spec, allocate::CdiFacts& facts) {
  Result<bool> done = directory_.write(spec);
  if (!done) {
    report(spec.device_class, done.error(), facts);
    offer_what_stands(spec, facts);
    return;
  }
  if (*done) {
    ++writes_;
    log::info("cdi", "wrote a specification",
              {{"file", join_path(directory_.path(), cdi::file_name(spec.device_class))},
               {"devices", spec.devices.size()},
               {"version", cdi::minimum_version(spec)}});
  }
  for (const cdi::Device& device : spec.devices) {
    facts.devices.insert(cdi::qualified_name(spec.device_class, device.name));
  }
  written_[spec.device_class] = spec;
}

void CdiSpecs::offer_what_stands(const cdi::Spec& spec, allocate::CdiFacts& facts) const {
  auto last = written_.find(spec.device_class);
  if (last == written_.end() || last->second.common != spec.common) return;
  for (const cdi::Device& device : spec.devices) {
    if (std::ranges::find(last->second.devices, device) != last->second.devices.end()) {
      facts.devices.insert(cdi::qualified_name(spec.device_class, device.name));
    }
  }
}

void CdiSpecs::remove(const std::string& device_class) {
  Result<bool> done = directory_.remove(device_class);
  if (!done) {
    allocate::CdiFacts unused;
    report(device_class, done.error(), unused);
    return;
  }
  written_.erase(device_class);
  if (*done) {
    log::info("cdi", "removed a specification that is not wanted any more",
              {{"file", join_path(directory_.path(), cdi::file_name(device_class))}});
  }
}

// The runtime would fail every container. Only told where the host's files can be seen.
void CdiSpecs::check_hook_program(const cdi::DriverTree& tree) {
  const config::Config& config = plan_->config;
  auto gpu = written_.find("gpu");
  if (gpu == written_.end() || gpu->second.common.hooks.empty() || config.driver_root != "/") {
    return;
  }
  const std::string wanted = cdi::hook_programs(config).front();
  if (!tree.hook_program.empty()) {
    if (tree.hook_program != wanted) {
      say_once("the hook program " + wanted + " is not on the host, CDI specifications name " +
               tree.hook_program);
    }
    return;
  }
  problems_.push_back(
      {metrics::Severity::kDegraded,
       "the hook program that CDI specifications name is not on the host: containers will not "
       "start",
       wanted,
       "Have `kerf install-hook` put kerf's own into /opt/kerf/bin, install the NVIDIA container "
       "toolkit, name its program with --nvidia-cdi-hook-path, or leave the hooks out with "
       "--cdi-disable-hooks=all."});
  say_once(problems_.back().what + ": " + wanted);
}

void CdiSpecs::report(const std::string& device_class, const Error& error,
                      allocate::CdiFacts& facts) {
  facts.trouble[device_class] = error.text();
  say_once(error.text());
  problems_.push_back({metrics::Severity::kDegraded, error.what, error.subject,
                       error.hint.empty() ? "" : "To remedy it: " + error.hint + "."});
}

void CdiSpecs::say_once(const std::string& text) {
  if (std::ranges::find(said_, text) == said_.end() &&
      std::ranges::find(saying_, text) == saying_.end()) {
    log::warn("cdi", text);
  }
  saying_.push_back(text);
}

void CdiSpecs::look_again_later() {
  timer_.expires_after(problems_.empty() ? kCalm : kTrouble);
  timer_.async_wait([this](std::error_code error) {
    if (error) return;
    const std::vector<metrics::Problem> before = problems_;
    allocate::CdiFacts now = bring_about();
    if (now == facts_ && before == problems_) return;
    facts_ = now;
    changed_(std::move(now));
  });
}

std::vector<metrics::Family> CdiSpecs::families() const {
  metrics::Family devices{"kerf_cdi_devices",
                          "Devices in the CDI specifications on disk, by class.",
                          metrics::Type::kGauge,
                          {},
                          {}};
  for (const auto& [device_class, spec] : written_) {
    devices.samples.push_back(
        {{{"class", device_class}}, static_cast<double>(spec.devices.size())});
  }
  metrics::Family writes{"kerf_cdi_writes_total",
                         "Times that a CDI specification was written.",
                         metrics::Type::kCounter,
                         {{{}, static_cast<double>(writes_)}},
                         {}};
  return {devices, writes};
}

void CdiSpecs::stop() {
  plan_ = nullptr;
  timer_.cancel();
}

}  // namespace kerf::agent
