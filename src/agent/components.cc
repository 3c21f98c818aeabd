// The table of components: name and maker. One line each.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "agent/component.h"
#include "agent/events_component.h"
#include "agent/exporter_component.h"
#include "agent/labels_component.h"
#include "agent/mps_component.h"
#include "agent/pod_events_component.h"
#include "agent/power_component.h"
#include "agent/usage_component.h"

namespace kerf::agent {
namespace {

using Made = Result<std::unique_ptr<Component>>;
struct Row {
  std::string_view name;
  Made (*make)(const config::Effective& effective, const Surroundings& surroundings);
};

// "devices" and "http" are the agent itself.
constexpr std::array<Row, 7> kRows{{
    {"events", make_events_component},
    {"exporter", make_exporter_component},
    {"labels", make_labels_component},
    {"mps", make_mps_component},
    {"pod-events", make_pod_events_component},
    {"power", make_power_component},
    {"usage", make_usage_component},
}};

}  // namespace

Result<std::vector<std::unique_ptr<Component>>> make_components(
    const std::vector<std::string>& names, const config::Effective& effective,
    const Surroundings& surroundings) {
  std::vector<std::unique_ptr<Component>> out;
  for (const Row& row : kRows) {
    if (std::ranges::find(names, row.name) == names.end()) continue;
    Made made = row.make(effective, surroundings);
    if (!made) return fail(std::move(made.error()).during(std::string(row.name)));
    out.push_back(std::move(*made));
  }
  return out;
}

}  // namespace kerf::agent
