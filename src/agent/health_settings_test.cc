#include "agent/health_settings.h"

#include "config/duration.h"

#include <gtest/gtest.h>

namespace kerf::agent {
namespace {

TEST(HealthSettings, AreTheRoomsOwnDefaultsWhenNothingIsConfigured) {
  const health::Settings got = health_settings({});
  const health::Settings want;
  EXPECT_EQ(got.quiet_ms, want.quiet_ms);
  EXPECT_EQ(got.max_quiet_ms, want.max_quiet_ms);
  EXPECT_EQ(got.poll_ms, want.poll_ms);
  EXPECT_EQ(got.thermal_ms, want.thermal_ms);
  EXPECT_EQ(
      got.ecc && got.row_remap_failure && got.row_remap_pending && got.nvlink && got.thermal,
      want.ecc && want.row_remap_failure && want.row_remap_pending && want.nvlink && want.thermal);
  for (std::uint64_t xid = 0; xid < 200; ++xid) {
    EXPECT_EQ(got.policy.action(xid), want.policy.action(xid)) << xid;
  }
}

TEST(HealthSettings, FollowTheConfigurationAndItsVariables) {
  config::Config config;
  config.health.xids = {{94, config::XidAction::kIgnore}, {79, config::XidAction::kDrain}};
  config.health.quiet_period_ns = config::kForever;
  config.health.poll_interval_ns = 100'000'000;
  config.health.nvlink = false;
  config.disable_health_checks = "48";
  const health::Settings got = health_settings(config);
  EXPECT_EQ(got.policy.action(94), health::XidAction::kIgnore);
  EXPECT_EQ(got.policy.action(79), health::XidAction::kDrain);
  EXPECT_EQ(got.policy.action(48), health::XidAction::kIgnore);
  EXPECT_EQ(got.quiet_ms, health::kNever);
  EXPECT_EQ(got.poll_ms, 100);
  EXPECT_FALSE(got.nvlink);
}

}  // namespace
}  // namespace kerf::agent
