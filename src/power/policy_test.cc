// Targets and verdicts, as tables: metrics contract §4.3, checklist items S1-02, -05, -24, -25,
// -27, -31, -32.
#include "power/policy.h"

#include "config/load.h"

#include <gtest/gtest.h>

namespace kerf::power {
namespace {

using What = Command::What;

// An RTX 3090 as it boots: 350 W, 100 to 390 W.
Reading rtx3090(unsigned index = 0) {
  Reading r;
  r.gpu = {index, "GPU-" + std::to_string(index), "NVIDIA GeForce RTX 3090",
           "0000:0" + std::to_string(index + 1) + ":00.0", false};
  r.limit_mw = r.enforced_mw = r.default_mw = 350'000;
  r.min_mw = 100'000;
  r.max_mw = 390'000;
  r.draw_mw = 22'000;
  r.persistence = true;
  r.graphics_mhz = 210;
  r.memory_mhz = 405;
  return r;
}

Reading t4() {
  Reading r = rtx3090(1);
  r.gpu.name = "Tesla T4";
  r.serial = "1562620013374";
  r.limit_mw = r.enforced_mw = r.default_mw = r.max_mw = 70'000;
  r.min_mw = 60'000;
  return r;
}

config::PowerOptions options(std::string_view power) {
  config::Effective e = config::evaluate_file("power: " + std::string(power), "f");
  EXPECT_TRUE(e.ok()) << power;
  return e.config.power;
}

Verdict verdict(const Reading& reading, std::string_view power, const Applied& applied = {}) {
  config::PowerOptions o = options(power);
  return judge(reading, target_for(reading, o), applied, {o.out_of_range, o.persistence, {}});
}

Command limit(const std::string& uuid, std::uint32_t milliwatts) {
  Command c;
  c.uuid = uuid;
  c.limit_mw = milliwatts;
  return c;
}

TEST(Targets, GoByUuidThenPciThenSerialThenModelThenNode) {
  constexpr const char* kAll =
      "{limit: 300, gpus: [{model: '*3090', limit: 290}, {serial: 99, limit: 280},"
      " {pci: '0000:01:00.0', limit: 270}, {uuid: GPU-0, limit: 260}, {uuid: GPU-0, limit: 250},"
      " {model: '*', limit: 240, weight: 7}]}";
  struct Case {
    const char* what;
    void (*change)(Reading&);
    std::uint32_t milliwatts;
    const char* rule;
  };
  for (const Case& c : {
           Case{"uuid, the first of two", [](Reading&) {}, 260'000, "power.gpus[3]: uuid GPU-0"},
           {"pci", [](Reading& r) { r.gpu.uuid = "GPU-9"; }, 270'000,
            "power.gpus[2]: pci 0000:01:00.0"},
           {"serial",
            [](Reading& r) {
              r.gpu.uuid = "GPU-9";
              r.gpu.pci_bus_id = "0000:09:00.0";
              r.serial = "99";
            },
            280'000, "power.gpus[1]: serial 99"},
           {"model, the first that fits",
            [](Reading& r) {
              r.gpu.uuid = "GPU-9";
              r.gpu.pci_bus_id = "0000:09:00.0";
            },
            290'000, "power.gpus[0]: model *3090"},
           {"another model",
            [](Reading& r) {
              r = t4();
              r.gpu.uuid = "GPU-9";
            },
            240'000, "power.gpus[5]: model *"},
       }) {
    Reading r = rtx3090();
    c.change(r);
    const Target target = target_for(r, options(kAll));
    EXPECT_EQ(asked_mw(r, target), c.milliwatts) << c.what;
    EXPECT_EQ(target.rule, c.rule) << c.what;
  }
  EXPECT_EQ(target_for(t4(), options(kAll)).weight, 7u);
  EXPECT_EQ(target_for(t4(), options("{limit: 300}")).rule, "power.limit");
}

TEST(Targets, LeaveOutWhatIsAsForAllGpus) {
  const config::PowerOptions o = options(
      "{limit: 300, graphicsClock: 210-1800, timeSlice: long, gpus: [{model: '*', weight: 2},"
      " {uuid: GPU-1, graphicsClock: 900}]}");
  Target target = target_for(rtx3090(0), o);
  EXPECT_EQ(target.wanted, o.all);
  EXPECT_EQ(target.rule, "power.limit");
  target = target_for(rtx3090(1), o);
  EXPECT_EQ(target.wanted.graphics_clock, (config::ClockRange{900, 900}));
  EXPECT_EQ(target.wanted.limit, o.all.limit);
  EXPECT_EQ(target.wanted.time_slice, config::TimeSlice::kLong);
}

TEST(Limits, AreSetWhereTheyAreNotAsAskedFor) {
  struct Case {
    const char* power;
    std::uint32_t now;
    std::optional<std::uint32_t> set;
    Standing standing;
  };
  for (const Case& c : {
           Case{"{limit: 300}", 350'000, 300'000, Standing::kDrifted},
           {"{limit: 300}", 300'000, {}, Standing::kHeld},
           {"{limit: 300}", 300'400, {}, Standing::kHeld},  // as boards round
           {"{limit: 300}", 299'501, {}, Standing::kHeld},
           {"{limit: 300}", 301'000, 300'000, Standing::kDrifted},
           {"{limit: 300}", 280'000, 300'000, Standing::kDrifted},
           {"{limit: 85%}", 350'000, 297'500, Standing::kDrifted},
           {"{limit: 85%}", 297'500, {}, Standing::kHeld},
           {"{limit: 90% of max}", 350'000, 351'000, Standing::kDrifted},
           {"{limit: default}", 300'000, 350'000, Standing::kDrifted},
           {"{limit: default}", 350'000, {}, Standing::kHeld},
           {"{limit: max}", 350'000, 390'000, Standing::kDrifted},
           {"{limit: unmanaged}", 123'000, {}, Standing::kUnmanaged},
           {"{}", 123'000, {}, Standing::kUnmanaged},
           {"{limit: 300, gpus: [{model: '*', limit: unmanaged}]}",
            350'000,
            {},
            Standing::kUnmanaged},
           {"{limit: 390}", 350'000, 390'000, Standing::kDrifted},
           {"{limit: 100}", 350'000, 100'000, Standing::kDrifted},
       }) {
    Reading r = rtx3090();
    r.limit_mw = c.now;
    const Verdict v = verdict(r, c.power);
    EXPECT_EQ(v.standing, c.standing) << c.power << " at " << c.now;
    std::vector<Command> expected;
    if (c.set) expected.push_back(limit("GPU-0", *c.set));
    EXPECT_EQ(v.commands, expected) << c.power << " at " << c.now;
  }
}

TEST(Limits, OutsideWhatTheBoardTakesAreRefusedOrClamped) {
  struct Case {
    const char* power;
    std::optional<std::uint32_t> set;
    const char* why;
  };
  for (const Case& c : {
           Case{"{limit: 50}", {}, "50 W is outside the 100 W to 390 W that the board takes"},
           {"{limit: 600}", {}, "600 W is outside the 100 W to 390 W that the board takes"},
           {"{limit: 20%}", {}, "70 W is outside the 100 W to 390 W that the board takes"},
           {"{limit: 50, outOfRange: clamp}", 100'000,
            "50 W is outside the 100 W to 390 W that the board takes, 100 W is taken"},
           {"{limit: 600, outOfRange: clamp}", 390'000,
            "600 W is outside the 100 W to 390 W that the board takes, 390 W is taken"},
       }) {
    const Verdict v = verdict(rtx3090(), c.power);
    EXPECT_EQ(v.why, c.why) << c.power;
    EXPECT_EQ(v.clamped, c.set.has_value());
    EXPECT_EQ(v.standing, c.set ? Standing::kDrifted : Standing::kRefused);
    ASSERT_EQ(v.commands.size(), c.set ? 1u : 0u);
    if (c.set) {
      EXPECT_EQ(v.commands[0].limit_mw, *c.set);
    }
  }
  // What is taken instead is held, not set again and again.
  Reading r = rtx3090();
  r.limit_mw = 390'000;
  EXPECT_EQ(verdict(r, "{limit: 600, outOfRange: clamp}").commands, std::vector<Command>{});
  EXPECT_EQ(verdict(r, "{limit: 600, outOfRange: clamp}").standing, Standing::kHeld);
}

TEST(Limits, ThatABoardDoesNotHaveAreSkippedWithAReason) {
  Reading gb10;
  gb10.gpu = {0, "GPU-0", "NVIDIA GB10", "000f:01:00.0", false};
  gb10.no_limits = Error{Kind::kUnsupported, "the GPU does not support this", {}, {}, 3};
  gb10.persistence = true;
  Verdict v = verdict(gb10, "{limit: 300}");
  EXPECT_EQ(v.standing, Standing::kUnsupported);
  EXPECT_EQ(v.why, "the GPU does not support this");
  EXPECT_TRUE(v.commands.empty());
  gb10.no_limits->kind = Kind::kTimeout;
  EXPECT_EQ(verdict(gb10, "{limit: 300}").standing, Standing::kUnreadable);
}

TEST(Limits, OfAGpuThatCannotBeReadAreLeftAlone) {
  Reading r = rtx3090();
  r.persistence = false;
  r.error = Error{Kind::kGone, "the GPU is lost", {}, {}, 15};
  const Verdict v = verdict(r, "{limit: 300, graphicsClock: 900}");
  EXPECT_EQ(v.standing, Standing::kUnreadable);
  EXPECT_EQ(v.why, "the GPU is lost");
  EXPECT_TRUE(v.commands.empty());
}

TEST(Persistence, IsAssertedBeforeTheLimitThatItKeeps) {
  Reading r = rtx3090();
  r.persistence = false;
  Verdict v = verdict(r, "{limit: 300}");
  ASSERT_EQ(v.commands.size(), 2u);
  EXPECT_EQ(v.commands[0].what, What::kPersistence);
  EXPECT_EQ(v.commands[1].what, What::kLimit);
  EXPECT_EQ(verdict(r, "{limit: 300, persistence: false}").commands.size(), 1u);
  r.persistence.reset();  // a board that cannot say
  EXPECT_EQ(verdict(r, "{limit: 300}").commands.size(), 1u);
  // Also on boards without limits, and where no limit is asked for.
  r.persistence = false;
  EXPECT_EQ(verdict(r, "{}").commands.size(), 1u);
}

TEST(Clocks, AreLockedOnceAndAgainWhenTheyEscape) {
  const char* kPower = "{graphicsClock: 210-1500, memoryClock: 5001}";
  Applied none;
  Verdict v = verdict(rtx3090(), kPower, none);
  ASSERT_EQ(v.commands.size(), 2u);
  EXPECT_EQ(v.commands[0].what, What::kGraphicsClock);
  EXPECT_EQ(v.commands[0].clocks, (config::ClockRange{210, 1500}));
  EXPECT_EQ(v.commands[1].what, What::kMemoryClock);
  Applied done{config::ClockRange{210, 1500}, config::ClockRange{5001, 5001}, {}};
  EXPECT_TRUE(verdict(rtx3090(), kPower, done).commands.empty());
  Reading fast = rtx3090();
  fast.graphics_mhz = 1515;
  EXPECT_TRUE(verdict(fast, kPower, done).commands.empty());
  fast.graphics_mhz = 1905;
  EXPECT_EQ(verdict(fast, kPower, done).commands.size(), 1u);
  // No longer asked for: unlocked, once.
  v = verdict(rtx3090(), "{}", done);
  ASSERT_EQ(v.commands.size(), 2u);
  EXPECT_FALSE(v.commands[0].clocks);
  EXPECT_TRUE(verdict(rtx3090(), "{}", none).commands.empty());
}

TEST(TimeSlices, AreSetOnceAndPutBackWhenNoLongerAskedFor) {
  Verdict v = verdict(rtx3090(), "{timeSlice: long}");
  ASSERT_EQ(v.commands.size(), 1u);
  EXPECT_EQ(v.commands[0].time_slice, config::TimeSlice::kLong);
  Applied done;
  done.time_slice = config::TimeSlice::kLong;
  EXPECT_TRUE(verdict(rtx3090(), "{timeSlice: long}", done).commands.empty());
  v = verdict(rtx3090(), "{}", done);
  ASSERT_EQ(v.commands.size(), 1u);
  EXPECT_EQ(v.commands[0].time_slice, config::TimeSlice::kDefault);
  EXPECT_TRUE(verdict(rtx3090(), "{}").commands.empty());
}

TEST(AbsurdAnswers, AreDroppedAndNamed) {
  static constexpr std::uint32_t kAll = 0xFFFFFFFF;
  struct Case {
    const char* what;
    void (*change)(Reading&);
    const char* oddity;
  };
  for (const Case& c : {
           Case{"draw", [](Reading& r) { r.draw_mw = kAll; }, "power draw of 4294967.295 W"},
           {"draw far above any limit", [](Reading& r) { r.draw_mw = 2'000'000; },
            "power draw of 2000 W"},
           {"limit", [](Reading& r) { r.limit_mw = kAll; }, "power limit of 4294967.295 W"},
           {"no limit", [](Reading& r) { r.limit_mw = 0; }, "power limit of 0 W"},
           {"default", [](Reading& r) { r.default_mw = 500'000; }, "default power limit of 500 W"},
           {"range upside down", [](Reading& r) { r.min_mw = 400'000; },
            "power limits from 400 W to 390 W"},
           {"no range", [](Reading& r) { r.min_mw = r.max_mw = 0; },
            "power limits from 0 W to 0 W"},
           {"utilisation", [](Reading& r) { r.utilization = 101; }, "utilisation of 101 %"},
           {"temperature", [](Reading& r) { r.temperature = kAll; }, "temperature of 4294967295 C"},
           {"clock", [](Reading& r) { r.graphics_mhz = kAll; }, "graphics clock of 4294967295 MHz"},
       }) {
    Reading r = rtx3090();
    c.change(r);
    drop_absurd(r);
    ASSERT_EQ(r.oddities.size(), 1u) << c.what;
    EXPECT_EQ(r.oddities[0], c.oddity);
  }
  Reading fine = rtx3090();
  fine.draw_mw = 500'000;  // a spike
  drop_absurd(fine);
  EXPECT_TRUE(fine.oddities.empty());
  EXPECT_EQ(fine.draw_mw, 500'000u);
}

TEST(AbsurdAnswers, NeverMakeAnAbsurdLimit) {
  Reading r = rtx3090();
  r.min_mw = 400'000;
  drop_absurd(r);
  Verdict v = verdict(r, "{limit: 300, outOfRange: clamp}");
  EXPECT_EQ(v.standing, Standing::kUnreadable);
  EXPECT_TRUE(v.commands.empty());
  r = rtx3090();
  r.default_mw = 0xFFFFFFFF;
  drop_absurd(r);
  EXPECT_TRUE(verdict(r, "{limit: 85%}").commands.empty());
  EXPECT_EQ(verdict(r, "{limit: 300}").commands.size(), 1u);
  r = rtx3090();
  r.limit_mw = 0xFFFFFFFF;  // what is in force is unknown: it is set
  drop_absurd(r);
  EXPECT_EQ(verdict(r, "{limit: 300}").commands.size(), 1u);
}

TEST(Shares, BindBelowTheTargetAndNeverAboveIt) {
  const Reading r = rtx3090();
  auto wanted = [&](std::string_view power, std::uint32_t share) {
    config::PowerOptions o = options(power);
    return judge(r, target_for(r, o), {}, {o.out_of_range, true, share}).wanted_mw;
  };
  EXPECT_EQ(wanted("{limit: 300}", 250'000), 250'000u);
  EXPECT_EQ(wanted("{limit: 300}", 380'000), 300'000u);
  EXPECT_EQ(wanted("{}", 250'000), 250'000u);
  EXPECT_EQ(wanted("{}", 380'000), 350'000u);
  EXPECT_EQ(wanted("{}", 50'000), 100'000u);
  EXPECT_FALSE(wanted("{limit: unmanaged}", 250'000));
}

}  // namespace
}  // namespace kerf::power
