// The power section: what is accepted, refused, and written back; and the two variables that users
// of a power-limit DaemonSet know.
#include "config/duration.h"
#include "config/load.h"
#include "config/render.h"

#include <gtest/gtest.h>

namespace kerf::config {
namespace {

using Unit = PowerAmount::Unit;

std::string findings(const Effective& effective) {
  std::string out;
  for (const Diagnostic& d : effective.findings) out += render(d) + "\n";
  return out;
}

PowerOptions accepted(std::string_view text) {
  Effective effective = evaluate_file(text, "config.yaml");
  EXPECT_EQ(findings(effective), "");
  return effective.config.power;
}

constexpr std::string_view kFull = R"(
version: v1
power:
  limit: 300
  outOfRange: clamp
  persistence: false
  reapply: 5m
  restoreOnExit: true
  graphicsClock: 210-1800
  memoryClock: 9501
  timeSlice: long
  gpus:
    - uuid: gpu-5A3F1C0E-8d27-4b61-9c52-0e7ab4d1f392
      limit: 280.5W
    - pci: 00000000:3B:00.0
      limit: 85%
    - serial: 1641824000241
      limit: unmanaged
    - model: "*RTX 3090*"
      limit: 90% of max
      graphicsClock: 1500
      timeSlice: short
      weight: 3
  budget:
    total: 550W
    interval: 5s
    hysteresis: 2.5
)";

TEST(PowerSection, IsReadWhole) {
  PowerOptions got = accepted(kFull);
  EXPECT_EQ(got.all.limit, (PowerAmount{Unit::kWatts, 300'000}));
  EXPECT_EQ(got.out_of_range, OutOfRange::kClamp);
  EXPECT_FALSE(got.persistence);
  EXPECT_TRUE(got.restore_on_exit);
  EXPECT_EQ(got.reapply_ns, 300'000'000'000);
  EXPECT_EQ(got.all.graphics_clock, (ClockRange{210, 1800}));
  EXPECT_EQ(got.all.memory_clock, (ClockRange{9501, 9501}));
  EXPECT_EQ(got.all.time_slice, TimeSlice::kLong);
  ASSERT_EQ(got.gpus.size(), 4u);
  EXPECT_EQ(got.gpus[0].by, PowerSelector::kUuid);
  EXPECT_EQ(got.gpus[0].match, "GPU-5a3f1c0e-8d27-4b61-9c52-0e7ab4d1f392");
  EXPECT_EQ(got.gpus[0].target.limit, (PowerAmount{Unit::kWatts, 280'500}));
  EXPECT_EQ(got.gpus[1].match, "0000:3b:00.0");
  EXPECT_EQ(got.gpus[1].target.limit, (PowerAmount{Unit::kPercentOfDefault, 85'000}));
  EXPECT_EQ(got.gpus[2].match, "1641824000241");
  EXPECT_EQ(got.gpus[2].target.limit, (PowerAmount{Unit::kUnmanaged, 0}));
  EXPECT_EQ(got.gpus[3].target.limit, (PowerAmount{Unit::kPercentOfMax, 90'000}));
  EXPECT_EQ(got.gpus[3].target.graphics_clock, (ClockRange{1500, 1500}));
  EXPECT_EQ(got.gpus[3].weight, 3u);
  EXPECT_EQ(got.budget, (PowerBudget{550'000, 5'000'000'000, 2'500}));
}

TEST(PowerSection, SaysNothingByDefaultAndChecksEveryHalfHour) {
  for (const char* text : {"version: v1", "power:", "power: {}",
                           "power: {limit: , gpus: , budget: }", "power: {gpus: []}"}) {
    PowerOptions got = accepted(text);
    EXPECT_EQ(got, PowerOptions{}) << text;
    EXPECT_EQ(got.reapply_ns, 1'800'000'000'000);
    EXPECT_FALSE(got.all.limit);
  }
}

TEST(PowerSection, ReadsBackAsItIsWritten) {
  Effective effective = evaluate_file(kFull, "config.yaml");
  for (const std::string& text : {to_yaml(effective.config), to_yaml(effective)}) {
    EXPECT_EQ(accepted(text), effective.config.power) << text;
  }
  EXPECT_NE(to_yaml(effective).find("# from file config.yaml:13:13"), std::string::npos)
      << to_yaml(effective);
  EXPECT_EQ(to_yaml(Config{}).find("power:"), std::string::npos);
}

TEST(PowerAmounts, HaveOneShortestText) {
  struct Case {
    std::string_view text;
    PowerAmount amount;
    std::string_view shortest;
  };
  for (const Case& c : {Case{"300", {Unit::kWatts, 300'000}, "300W"},
                        {"300W", {Unit::kWatts, 300'000}, "300W"},
                        {" 300 watts ", {Unit::kWatts, 300'000}, "300W"},
                        {"299.95w", {Unit::kWatts, 299'950}, "299.95W"},
                        {"85%", {Unit::kPercentOfDefault, 85'000}, "85%"},
                        {"85 % of default", {Unit::kPercentOfDefault, 85'000}, "85%"},
                        {"100%", {Unit::kPercentOfDefault, 100'000}, "default"},
                        {"Default", {Unit::kPercentOfDefault, 100'000}, "default"},
                        {"max", {Unit::kPercentOfMax, 100'000}, "max"},
                        {"62.5% of max", {Unit::kPercentOfMax, 62'500}, "62.5% of max"},
                        {"unmanaged", {Unit::kUnmanaged, 0}, "unmanaged"}}) {
    auto got = parse_power_amount(c.text);
    ASSERT_TRUE(got.has_value()) << c.text;
    EXPECT_EQ(*got, c.amount) << c.text;
    EXPECT_EQ(to_string(*got), c.shortest);
    EXPECT_EQ(parse_power_amount(to_string(*got)).value(), *got);
  }
  for (const char* text : {"", "W", "-300", "0", "0W", "1e3", "nan", "inf", "300kW", "300 %%",
                           "100001", "1001%", "three hundred", "300W W", "85% of min", "%"}) {
    auto got = parse_power_amount(text);
    ASSERT_FALSE(got.has_value()) << text;
    EXPECT_NE(got.error().hint.find("write watts as 300W"), std::string::npos);
  }
}

TEST(PowerSection, RefusesWhatCannotBe) {
  struct Case {
    const char* text;
    const char* said;
  };
  for (const Case& c : {
           Case{"power: [300]", "power"},
           {"power: {limit: much}", "power.limit: 'much' is no power limit"},
           {"power: {limit: {watts: 300}}", "power.limit"},
           {"power: {limit: -1}", "power.limit"},
           {"power: {outOfRange: ignore}", "allowed: refuse, clamp"},
           {"power: {persistence: 1}", "power.persistence"},
           {"power: {reapply: 0}", "less than a second"},
           {"power: {reapply: soon}", "power.reapply: 'soon' is no time"},
           {"power: {graphicsClock: 1800-210}", "power.graphicsClock"},
           {"power: {memoryClock: fast}", "no range of clocks"},
           {"power: {timeSlice: 3}", "allowed: default, short, medium, long"},
           {"power: {gpus: {uuid: GPU-1}}", "power.gpus"},
           {"power: {gpus: [{limit: 300}]}", "power.gpus[0]: names no GPU"},
           {"power: {gpus: [{uuid: GPU-1, model: x, limit: 300}]}", "more than one way"},
           {"power: {gpus: [{uuid: 5a3f, limit: 300}]}", "names no GPU"},
           {"power: {gpus: [{pci: \"3b:00.0\", limit: 300}]}", "names no GPU"},
           {"power: {gpus: [{model: x, weight: 0}]}", "write 1 to 1000"},
           {"power: {budget: {interval: 5s}}", "power.budget: has no total"},
           {"power: {budget: {total: 85%}}", "is not in watts"},
           {"power: {budget: {total: 500, interval: 10ms}}", "power.budget.interval"},
       }) {
    Effective effective = evaluate_file(c.text, "config.yaml");
    EXPECT_FALSE(effective.ok()) << c.text;
    EXPECT_NE(findings(effective).find(c.said), std::string::npos) << c.text << "\n"
                                                                   << findings(effective);
    EXPECT_NE(findings(effective).find("config.yaml:1:"), std::string::npos);
  }
}

TEST(PowerSection, TakesLimitAndIntervalFromTheVariablesOfTheOldDaemonSet) {
  const FlagValues none;
  auto file = [](const std::string&) -> Result<std::string> {
    return std::string("power: {limit: 250W, reapply: 1h, gpus: [{model: T4, limit: 60}]}");
  };
  Env env{{"CONFIG_FILE", "f.yaml"}, {"POWER_LIMIT_WATTS", "280"}, {"REAPPLY_SECONDS", "300"}};
  Effective e = evaluate(none, env, file);
  EXPECT_EQ(findings(e), "");
  EXPECT_EQ(e.config.power.all.limit, (PowerAmount{Unit::kWatts, 280'000}));
  EXPECT_EQ(e.config.power.reapply_ns, 300'000'000'000);
  EXPECT_EQ(e.config.power.gpus.size(), 1u);
  EXPECT_NE(to_yaml(e).find("# from env POWER_LIMIT_WATTS"), std::string::npos);
  EXPECT_NE(to_yaml(e).find("# from env REAPPLY_SECONDS"), std::string::npos);
  e = evaluate({{"power-limit", {"85%"}}}, env, file);
  EXPECT_EQ(e.config.power.all.limit, (PowerAmount{Unit::kPercentOfDefault, 85'000}));
  e = evaluate(none, {{"CONFIG_FILE", "f.yaml"}}, file);
  EXPECT_EQ(e.config.power.all.limit, (PowerAmount{Unit::kWatts, 250'000}));
  EXPECT_EQ(e.config.power.reapply_ns, 3'600'000'000'000);
  // Set but empty: as if not said, for the variable counts as given.
  env["POWER_LIMIT_WATTS"] = "";
  EXPECT_FALSE(evaluate(none, env, file).config.power.all.limit);
  env["POWER_LIMIT_WATTS"] = "300 watt-hours";
  e = evaluate(none, env, file);
  EXPECT_FALSE(e.ok());
  EXPECT_NE(findings(e).find("env POWER_LIMIT_WATTS"), std::string::npos) << findings(e);
}

}  // namespace
}  // namespace kerf::config
