// The health section: what is accepted, refused, and written back.
#include "config/duration.h"
#include "config/load.h"
#include "config/parse.h"
#include "config/render.h"

namespace kerf::config {
namespace {

std::string findings(const Effective& effective) {
  std::string out;
  for (const Diagnostic& d : effective.findings) out += render(d) + "\n";
  return out;
}

HealthOptions accepted(std::string_view text) {
  Effective effective = evaluate_file(text, "config.yaml");
  EXPECT_TRUE(effective.ok()) << findings(effective);
  EXPECT_EQ(findings(effective), "");
  return effective.config.health;
}

constexpr std::string_view kFull = R"(
version: v1
health:
  xids:
    ignore: [94, 63]
    unhealthy: [13]
    unhealthyUntilReset: [31]
    drain: [48, 79]
  recovery:
    quietPeriod: 90s
    maxQuietPeriod: infinite
  conditions:
    ecc: false
    rowRemapFailure: no
    rowRemapPending: false
    nvlink: false
    thermal: false
    thermalAfter: 0s
    pollInterval: 500ms
)";

TEST(HealthSection, IsReadWhole) {
  HealthOptions got = accepted(kFull);
  using enum XidAction;
  EXPECT_EQ(got.xids, (std::map<std::uint64_t, XidAction>{{13, kUnhealthy},
                                                          {31, kUnhealthyUntilReset},
                                                          {48, kDrain},
                                                          {63, kIgnore},
                                                          {79, kDrain},
                                                          {94, kIgnore}}));
  EXPECT_EQ(got.quiet_period_ns, 90'000'000'000);
  EXPECT_EQ(got.max_quiet_period_ns, kForever);
  EXPECT_EQ(got.poll_interval_ns, 500'000'000);
  EXPECT_EQ(got.thermal_after_ns, 0);
  EXPECT_FALSE(got.ecc || got.row_remap_failure || got.row_remap_pending || got.nvlink ||
               got.thermal);
}

TEST(HealthSection, NeedSayNothing) {
  for (std::string_view text :
       {"health:", "health: {}", "health: {xids: , recovery: , conditions: }",
        "health: {xids: {ignore: }, recovery: {quietPeriod: }, conditions: {ecc: }}"}) {
    EXPECT_EQ(accepted(text), HealthOptions{}) << text;
  }
}

TEST(HealthSection, IsWrittenBackAsItWasRead) {
  Effective effective = evaluate_file(kFull, "config.yaml");
  for (const std::string& text : {to_yaml(effective.config), to_yaml(effective)}) {
    EXPECT_EQ(evaluate_file(text, "again").config.health, effective.config.health) << text;
  }
  EXPECT_NE(to_yaml(effective).find("from file config.yaml:5:"), std::string::npos)
      << to_yaml(effective);
  EXPECT_EQ(to_yaml(Config{}).find("health:"), std::string::npos);
  EXPECT_NE(to_yaml(evaluate_file("", "f")).find("quietPeriod: 300s"), std::string::npos);
}

TEST(HealthSection, ThatIsWrongIsRefusedWithPlaceAndRemedy) {
  struct {
    std::string_view text, says;
  } const rows[] = {
      {"health: [1]", "health"},
      {"health: {xids: [79]}", "health.xids"},
      {"health: {xids: {ignore: 79}}", "health.xids.ignore"},
      {"health: {xids: {ignore: [x]}}", "health.xids.ignore[0]"},
      {"health: {xids: {ignore: [null]}}", "health.xids.ignore[0]"},
      {"health: {xids: {ignore: [0]}}", "write a number from 1 to 9999"},
      {"health: {xids: {ignore: [-79]}}", "-79 is no XID"},
      {"health: {xids: {ignore: [79], drain: [48, 79]}}",
       "health.xids.drain[1]: XID 79 is also below ignore"},
      {"health: {recovery: {quietPeriod: 5}}", "a duration with a unit"},
      {"health: {recovery: {quietPeriod: -5s}}", "out of range"},
      {"health: {recovery: {quietPeriod: 5 minutes}}", "health.recovery.quietPeriod"},
      {"health: {conditions: {pollInterval: 1ms}}", "write 100ms to 3600s"},
      {"health: {conditions: {pollInterval: infinite}}", "out of range"},
      {"health: {conditions: {thermalAfter: infinite}}", "out of range"},
      {"health: {conditions: {ecc: \"true\"}}", "health.conditions.ecc"},
  };
  for (const auto& row : rows) {
    Effective effective = evaluate_file(row.text, "config.yaml");
    EXPECT_FALSE(effective.ok()) << row.text;
    EXPECT_NE(findings(effective).find(row.says), std::string::npos) << row.text << "\n"
                                                                     << findings(effective);
  }
}

TEST(HealthSection, ThatIsOddIsWarnedOf) {
  struct {
    std::string_view text, says;
  } const rows[] = {
      {"health: {xids: {unhealthy-until-reset: [79]}}", "unknown key"},
      {"health: {recovery: {quietPeriod: 2h}}", "maxQuietPeriod, 3600s, is less"},
  };
  for (const auto& row : rows) {
    Effective effective = evaluate_file(row.text, "config.yaml");
    EXPECT_TRUE(effective.ok()) << row.text;
    EXPECT_NE(findings(effective).find(row.says), std::string::npos) << findings(effective);
  }
}

}  // namespace
}  // namespace kerf::config
