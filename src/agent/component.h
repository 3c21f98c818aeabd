// A part of the agent that is switched on by name (--components) and lives beside the device
// plugin: it is told what the node looks like and acts on it, and cannot stop the others. A new
// part is one class here and one line in components.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ledger.h"
#include "agent/shared_pods.h"
#include "base/result.h"
#include "base/roots.h"
#include "config/load.h"
#include "metrics/exposition.h"
#include "metrics/node_status.h"
#include "plan/types.h"

namespace asio {
class io_context;
}

namespace kerf::agent {

class UsageMeter;

// What every component is given once. Outlives the component.
struct Surroundings {
  asio::io_context& loop;
  Roots roots;
  std::string version;
  // A line in the list of events that the page shows. Loop thread.
  std::function<void(metrics::EventLevel, std::string)> note;
  // Something that `status` or `metrics` reports is different now. Loop thread.
  std::function<void()> changed;
  // Ends the process in order, with this exit status: for one that has done all it was asked to.
  std::function<void(int)> end;
  // Who holds which device, as the kubelet told when asked at that time (wall clock, milliseconds).
  std::function<void(std::span<const ContainerDevices>, std::int64_t asked_ms)> held;
  // What the kubelet and the API server tell of the node's pods. Never null.
  std::shared_ptr<SharedPods> pods;
  // Who uses the GPUs; measures when a component joins. Never null.
  std::shared_ptr<UsageMeter> usage;
};

// What is known now. `plan` is null until configuration and inventory are both known; with a plan
// its snapshot is never null.
struct View {
  plan::PlanPtr plan;
  const config::Effective& effective;
  std::int64_t configured_ms;  // when it was read and put in force; wall clock, milliseconds
};

// Every call comes from the loop thread and must not block it.
class Component {
 public:
  virtual ~Component() = default;
  // After every change of configuration or inventory, whether or not it concerns this component.
  virtual void observe(const View& view) = 0;
  // A newer configuration was refused, and why; the one before stays in force.
  virtual void configuration_refused(const std::string& /*why*/) {}
  // Ends threads, processes and timers of its own, within a second; with processes that must end in
  // order, within ten. Nothing is called afterwards.
  virtual void stop() = 0;
  // What is wrong now, for the page and /health; empty while all is well.
  virtual std::vector<metrics::Problem> problems() const { return {}; }
  // Adds to what the page and `kerf status` show.
  virtual void describe(metrics::NodeStatus& /*node*/) const {}
  // Families added to /metrics.
  virtual std::vector<metrics::Family> families() const { return {}; }
};

// The components that `names` asks for, in the order of components.cc. Names that belong to the
// agent itself ("devices", "http") are left out; an unknown name was refused by the configuration.
Result<std::vector<std::unique_ptr<Component>>> make_components(
    const std::vector<std::string>& names, const config::Effective& effective,
    const Surroundings& surroundings);

}  // namespace kerf::agent
