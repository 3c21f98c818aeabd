#include "agent/health_settings.h"

#include "config/duration.h"

namespace kerf::agent {

namespace {

std::int64_t milliseconds(std::int64_t nanoseconds) {
  return nanoseconds == config::kForever ? health::kNever : nanoseconds / 1'000'000;
}

health::XidAction action_of(config::XidAction action) {
  switch (action) {
    case config::XidAction::kIgnore:
      return health::XidAction::kIgnore;
    case config::XidAction::kUnhealthy:
      return health::XidAction::kUnhealthy;
    case config::XidAction::kUnhealthyUntilReset:
      return health::XidAction::kUnhealthyUntilReset;
    case config::XidAction::kDrain:
      return health::XidAction::kDrain;
  }
  return health::XidAction::kUnhealthy;
}

}  // namespace

health::Settings health_settings(const config::Config& config) {
  const config::HealthOptions& from = config.health;
  health::XidPolicy::Actions actions;
  for (const auto& [xid, action] : from.xids) actions[xid] = action_of(action);
  health::Settings to;
  to.policy = health::XidPolicy(config.disable_health_checks, config.enable_health_checks,
                                std::move(actions));
  to.quiet_ms = milliseconds(from.quiet_period_ns);
  to.max_quiet_ms = milliseconds(from.max_quiet_period_ns);
  to.ecc = from.ecc;
  to.row_remap_failure = from.row_remap_failure;
  to.row_remap_pending = from.row_remap_pending;
  to.nvlink = from.nvlink;
  to.thermal = from.thermal;
  to.thermal_ms = milliseconds(from.thermal_after_ns);
  to.poll_ms = milliseconds(from.poll_interval_ns);
  return to;
}

std::string state_directory(const config::ProcessOptions& process, const Roots& roots) {
  if (process.state_dir == "none") return {};
  return process.state_dir.empty() ? join_path(roots.run, "kerf") : process.state_dir;
}

}  // namespace kerf::agent
