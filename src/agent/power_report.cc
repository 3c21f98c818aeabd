#include "agent/power_report.h"

#include <optional>
#include <string>
#include <utility>

namespace kerf::agent {
namespace {

using metrics::Family;
using metrics::Problem;
using metrics::Severity;
using metrics::Type;
using power::GpuReport;
using power::Standing;

std::string name_of(const GpuReport& gpu) { return "GPU " + std::to_string(gpu.reading.gpu.index); }

std::string sentence(const std::string& hint) { return hint.empty() ? hint : hint + "."; }

void add_gpu_problems(const GpuReport& gpu, std::vector<Problem>& out) {
  const std::string& uuid = gpu.reading.gpu.uuid;
  if (const auto& failure = gpu.failure) {
    out.push_back({Severity::kDegraded,
                   "power settings of " + name_of(gpu) + " cannot be changed: " + failure->what,
                   uuid,
                   failure->hint.empty() ? "It is tried again by itself; see the log."
                                         : sentence(failure->hint)});
  }
  const power::Verdict& verdict = gpu.verdict;
  if (verdict.standing == Standing::kRefused) {
    out.push_back({Severity::kDegraded,
                   "power limit of " + name_of(gpu) + " is refused: " + verdict.why, uuid,
                   "Write a limit within that range for this GPU, or outOfRange: clamp."});
  } else if (verdict.standing == Standing::kUnreadable && !gpu.reading.gpu.lost) {
    out.push_back({Severity::kDegraded,
                   "power limit of " + name_of(gpu) + " is not looked after: " + verdict.why, uuid,
                   "It is looked at again by itself; nvidia-smi -q -d POWER says what the driver "
                   "answers."});
  }
}

// A gauge in watts, with a sample for every GPU that has the figure.
template <typename Get>
Family watts(const power::Report& report, std::string name, std::string help, Get get) {
  Family family{std::move(name), std::move(help), Type::kGauge, {}, {}};
  for (const GpuReport& gpu : report.gpus) {
    const std::optional<std::uint32_t> value = get(gpu);
    if (value) {
      family.samples.push_back(
          {{{"gpu", std::to_string(gpu.reading.gpu.index)}, {"uuid", gpu.reading.gpu.uuid}},
           *value / 1000.0});
    }
  }
  return family;
}

template <typename Get>
Family count(const power::Report& report, std::string name, std::string help, Get get) {
  Family family{std::move(name), std::move(help), Type::kCounter, {}, {}};
  for (const GpuReport& gpu : report.gpus) {
    family.samples.push_back(
        {{{"gpu", std::to_string(gpu.reading.gpu.index)}, {"uuid", gpu.reading.gpu.uuid}},
         static_cast<double>(get(gpu))});
  }
  return family;
}

Family standings(const power::Report& report) {
  Family family{"kerf_power_state",
                "How a GPU stands to its power limit: 1 for the state that it is in.",
                Type::kGauge,
                {},
                {}};
  for (const GpuReport& gpu : report.gpus) {
    Standing standing = gpu.verdict.standing;
    // What was found wrong and could be set is held now.
    if (standing == Standing::kDrifted && !gpu.failure) standing = Standing::kHeld;
    family.samples.push_back({{{"gpu", std::to_string(gpu.reading.gpu.index)},
                               {"uuid", gpu.reading.gpu.uuid},
                               {"state", std::string(to_string(standing))}},
                              1});
  }
  return family;
}

void add_budget(const power::Report& report, std::vector<Family>& out) {
  Family total{
      "kerf_power_budget_watts", "Watts for all GPUs of the node together.", Type::kGauge, {}, {}};
  Family held{
      "kerf_power_budget_held_watts", "Sum of the power limits of all GPUs.", Type::kGauge, {}, {}};
  if (const auto& budget = report.budget) {
    total.samples.push_back({{}, budget->total_mw / 1000.0});
    held.samples.push_back({{}, static_cast<double>(budget->held_mw) / 1000.0});
  }
  out.push_back(std::move(total));
  out.push_back(std::move(held));
}

}  // namespace

std::vector<Problem> power_problems(const power::Report& report) {
  std::vector<Problem> out;
  if (const auto& error = report.unreachable) {
    out.push_back({Severity::kDegraded, "power limits are not looked after: " + error->what,
                   error->subject, sentence(error->hint)});
  }
  for (const GpuReport& gpu : report.gpus) add_gpu_problems(gpu, out);
  if (const auto& budget = report.budget) {
    const bool over = budget->held_mw > budget->total_mw;
    if (budget->impossible || over) {
      out.push_back({Severity::kDegraded,
                     "the power budget of " + power::watts(budget->total_mw) +
                         " is not held: the limits add up to " +
                         std::to_string(budget->held_mw / 1000) + " W",
                     "",
                     budget->impossible
                         ? "The boards take more than that at least; raise power.budget.total."
                         : "A GPU cannot be lowered; see the other problems."});
    }
  }
  return out;
}

std::vector<Family> power_families(const power::Report& report) {
  std::vector<Family> out;
  out.push_back(watts(report, "kerf_power_target_watts", "Power limit that a GPU is to be held at.",
                      [](const GpuReport& g) { return g.verdict.wanted_mw; }));
  out.push_back(watts(report, "kerf_power_limit_watts", "Power limit in force by request.",
                      [](const GpuReport& g) { return g.limit_mw; }));
  out.push_back(watts(report, "kerf_power_enforced_limit_watts",
                      "Least of all limits of a GPU, as last read; lower than the limit when "
                      "something else limits it.",
                      [](const GpuReport& g) { return g.reading.enforced_mw; }));
  out.push_back(watts(report, "kerf_power_default_limit_watts",
                      "Power limit that a board boots with.",
                      [](const GpuReport& g) { return g.reading.default_mw; }));
  out.push_back(watts(report, "kerf_power_min_limit_watts",
                      "Lowest power limit that a board takes.",
                      [](const GpuReport& g) { return g.reading.min_mw; }));
  out.push_back(watts(report, "kerf_power_max_limit_watts",
                      "Highest power limit that a board takes.",
                      [](const GpuReport& g) { return g.reading.max_mw; }));
  out.push_back(watts(report, "kerf_power_draw_watts", "Power draw at the last look.",
                      [](const GpuReport& g) { return g.reading.draw_mw; }));
  out.push_back(standings(report));
  out.push_back(count(report, "kerf_power_applied_total", "Power limits set with success.",
                      [](const GpuReport& g) { return g.sets; }));
  out.push_back(count(report, "kerf_power_drifts_total",
                      "Times that a GPU was found at another power limit than it was left at.",
                      [](const GpuReport& g) { return g.drifts; }));
  Family failures{"kerf_power_failures_total",
                  "Changes of a GPU that failed, by kind of error.",
                  Type::kCounter,
                  {},
                  {}};
  for (const auto& [kind, times] : report.failures) {
    failures.samples.push_back({{{"kind", kind}}, static_cast<double>(times)});
  }
  out.push_back(std::move(failures));
  out.push_back({"kerf_power_checks_total",
                 "Looks at the GPUs' power limits.",
                 Type::kCounter,
                 {{{}, static_cast<double>(report.looks)}},
                 {}});
  add_budget(report, out);
  return out;
}

}  // namespace kerf::agent
