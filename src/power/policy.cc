#include "power/policy.h"

#include <algorithm>

#include "base/strings.h"

#include <fmt/format.h>

namespace kerf::power {
namespace {

using config::PowerAmount;
using config::PowerRule;
using config::PowerSelector;

// A locked clock may be passed by a step or two before the lock bites.
constexpr std::uint32_t kClockToleranceMhz = 30;

bool fits(const PowerRule& rule, const Reading& reading) {
  switch (rule.by) {
    case PowerSelector::kUuid:
      return rule.match == reading.gpu.uuid;
    case PowerSelector::kPci:
      return rule.match == reading.gpu.pci_bus_id;
    case PowerSelector::kSerial:
      return !reading.serial.empty() && rule.match == reading.serial;
    case PowerSelector::kModel:
      return matches_glob(rule.match, reading.gpu.name);
  }
  return false;
}

const PowerRule* best_rule(const Reading& reading, const std::vector<PowerRule>& rules) {
  const PowerRule* best = nullptr;
  for (const PowerRule& rule : rules) {
    if (fits(rule, reading) && (best == nullptr || rule.by < best->by)) best = &rule;
  }
  return best;
}

template <typename T>
void take(const std::optional<T>& given, std::optional<T>& into) {
  if (given) into = given;
}

std::uint32_t percent_of(std::uint32_t thousandths, std::uint32_t milliwatts) {
  return static_cast<std::uint32_t>(std::uint64_t{milliwatts} * thousandths / 100'000);
}

bool same_limit(std::uint32_t a, std::uint32_t b) {
  return (a > b ? a - b : b - a) <= kToleranceMw;
}

// Fills in what the limit is to be; false when there is none to be set.
bool judge_amount(const Reading& r, const Target& target, const Judging& judging, Verdict& v) {
  const auto& limit = target.wanted.limit;
  // With nothing but a budget, no board gets more than it boots with.
  const auto asked = limit ? asked_mw(r, target) : r.default_mw ? r.default_mw : r.max_mw;
  const std::string text = limit ? config::to_string(*limit) : "a share of the budget";
  if (!asked || !r.min_mw || !r.max_mw) {
    v.standing = Standing::kUnreadable;
    v.why = fmt::format("what {} means cannot be told: the board's limits make no sense", text);
    return false;
  }
  std::uint32_t wanted = *asked;
  if (wanted < *r.min_mw || wanted > *r.max_mw) {
    const std::uint32_t nearest = std::clamp(wanted, *r.min_mw, *r.max_mw);
    const std::string range = fmt::format("{} is outside the {} to {} that the board takes",
                                          watts(wanted), watts(*r.min_mw), watts(*r.max_mw));
    if (judging.out_of_range == config::OutOfRange::kRefuse) {
      v.standing = Standing::kRefused;
      v.why = range;
      return false;
    }
    v.clamped = true;
    v.why = range + ", " + watts(nearest) + " is taken";
    wanted = nearest;
  }
  if (judging.share_mw) wanted = std::clamp(std::min(wanted, *judging.share_mw), *r.min_mw, wanted);
  v.wanted_mw = wanted;
  return true;
}

void judge_limit(const Reading& r, const Target& target, const Judging& judging, Verdict& v) {
  const auto& limit = target.wanted.limit;
  const bool managed =
      limit ? limit->unit != PowerAmount::Unit::kUnmanaged : judging.share_mw.has_value();
  if (!managed) return;
  if (r.no_limits) {
    v.standing =
        r.no_limits->kind == Kind::kUnsupported ? Standing::kUnsupported : Standing::kUnreadable;
    v.why = r.no_limits->what;
    return;
  }
  if (!judge_amount(r, target, judging, v)) return;
  v.standing = Standing::kHeld;
  if (r.limit_mw && v.wanted_mw && same_limit(*r.limit_mw, *v.wanted_mw)) return;
  v.standing = Standing::kDrifted;
  Command set;
  set.uuid = r.gpu.uuid;
  set.limit_mw = v.wanted_mw.value_or(0);
  v.commands.push_back(std::move(set));
}

void judge_clock(const Reading& r, Command::What what, const std::optional<std::uint32_t>& now,
                 const std::optional<config::ClockRange>& wanted,
                 const std::optional<config::ClockRange>& applied, Verdict& v) {
  // A lock that was lost shows by a clock that it would not allow.
  const bool escaped = wanted && now && *now > wanted->max_mhz + kClockToleranceMhz;
  if (wanted == applied && !escaped) return;
  Command command;
  command.what = what;
  command.uuid = r.gpu.uuid;
  command.clocks = wanted;
  v.commands.push_back(std::move(command));
}

}  // namespace

Target target_for(const Reading& reading, const config::PowerOptions& options) {
  Target target{options.all, 1, "power.limit"};
  const PowerRule* rule = best_rule(reading, options.gpus);
  if (rule == nullptr) return target;
  take(rule->target.limit, target.wanted.limit);
  take(rule->target.graphics_clock, target.wanted.graphics_clock);
  take(rule->target.memory_clock, target.wanted.memory_clock);
  take(rule->target.time_slice, target.wanted.time_slice);
  target.weight = rule->weight;
  if (rule->target.limit) {
    target.rule =
        fmt::format("power.gpus[{}]: {} {}", rule - options.gpus.data(),
                    config::kPowerSelectors[static_cast<std::size_t>(rule->by)].first, rule->match);
  }
  return target;
}

std::optional<std::uint32_t> asked_mw(const Reading& reading, const Target& target) {
  if (!target.wanted.limit) return {};
  const PowerAmount& amount = *target.wanted.limit;
  switch (amount.unit) {
    case PowerAmount::Unit::kUnmanaged:
      return {};
    case PowerAmount::Unit::kWatts:
      return amount.value;
    case PowerAmount::Unit::kPercentOfDefault:
      if (reading.default_mw) return percent_of(amount.value, *reading.default_mw);
      return {};
    case PowerAmount::Unit::kPercentOfMax:
      if (reading.max_mw) return percent_of(amount.value, *reading.max_mw);
      return {};
  }
  return {};
}

Verdict judge(const Reading& r, const Target& target, const Applied& applied,
              const Judging& judging) {
  Verdict v;
  if (r.error) {
    v.standing = Standing::kUnreadable;
    v.why = r.error->what;
    return v;
  }
  // First, so that the limit set next is not lost with the last client.
  if (judging.persistence && r.persistence && !*r.persistence) {
    Command command;
    command.what = Command::What::kPersistence;
    command.uuid = r.gpu.uuid;
    v.commands.push_back(std::move(command));
  }
  judge_limit(r, target, judging, v);
  judge_clock(r, Command::What::kGraphicsClock, r.graphics_mhz, target.wanted.graphics_clock,
              applied.graphics_clock, v);
  judge_clock(r, Command::What::kMemoryClock, r.memory_mhz, target.wanted.memory_clock,
              applied.memory_clock, v);
  // What was never asked for is nobody's business; what was is put back.
  const auto slice = target.wanted.time_slice;
  if (slice != applied.time_slice && (slice || applied.time_slice)) {
    Command command;
    command.what = Command::What::kTimeSlice;
    command.uuid = r.gpu.uuid;
    command.time_slice = slice.value_or(config::TimeSlice::kDefault);
    v.commands.push_back(std::move(command));
  }
  return v;
}

}  // namespace kerf::power
