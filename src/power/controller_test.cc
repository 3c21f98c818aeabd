// When it looks, what it does then and what it remembers, in time of its own: checklist items
// S1-24, -25, -26, -27, -29, -30.
#include "power/controller.h"

#include <limits>

#include "config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::power {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using What = Command::What;

config::PowerOptions options(std::string_view power) {
  config::Effective e = config::evaluate_file("power: " + std::string(power), "f");
  EXPECT_TRUE(e.ok()) << power;
  return e.config.power;
}

// Two RTX 3090 that keep what they are told, unless told to misbehave.
class Bench {
 public:
  explicit Bench(std::string_view power, std::size_t gpus = 2) : controller(options(power)) {
    for (unsigned i = 0; i < gpus; ++i) {
      Board board;
      board.reading.gpu = {i, "GPU-" + std::to_string(i), "NVIDIA GeForce RTX 3090",
                           "0000:0" + std::to_string(i + 1) + ":00.0", false};
      board.reading.default_mw = 350'000;
      board.reading.min_mw = 100'000;
      board.reading.max_mw = 390'000;
      board.reading.draw_mw = 20'000;
      boards.push_back(board);
    }
    node.ready = true;
    node.starts = 1;
    announce();
  }

  struct Board {
    Reading reading;
    std::uint32_t limit_mw = 350'000;
    bool persistence = false;
    std::optional<Error> refuses;
    bool ignores = false;
  };

  void announce() {
    node.gpus.clear();
    for (const Board& board : boards) node.gpus.push_back(board.reading.gpu);
    controller.observe(node, now);
  }

  // Lets time pass until just after the next look, at most this long. What was done, as text.
  std::vector<std::string> within(std::int64_t ms) {
    const std::int64_t due = controller.due_ms();
    if (due > now + ms) {
      now += ms;
      return {"no look"};
    }
    now = std::max(now, due);
    return look();
  }

  std::vector<std::string> look() {
    std::vector<std::string> done;
    std::vector<Reading> readings;
    for (Board& board : boards) {
      Reading r = board.reading;
      r.limit_mw = r.enforced_mw = board.limit_mw;
      r.persistence = board.persistence;
      readings.push_back(r);
    }
    for (const Command& command : controller.decide(readings, now)) {
      const std::string text = std::string(command.uuid.substr(4)) + " " + value_of(command);
      if (!controller.may(command)) {
        done.push_back(text + " may not");
        continue;
      }
      Board& board = boards[static_cast<std::size_t>(command.uuid.back() - '0')];
      Status outcome;
      if (board.refuses) outcome = fail(*board.refuses);
      if (outcome && !board.ignores && command.what == What::kLimit) {
        board.limit_mw = command.limit_mw;
      }
      if (outcome && command.what == What::kPersistence) board.persistence = true;
      controller.done(command, outcome, board.limit_mw, now);
      done.push_back(text + (outcome ? "" : " refused"));
      std::uint64_t sum = 0;
      for (const Board& each : boards) sum += each.limit_mw;
      highest = std::max(highest, sum);
    }
    controller.finish(now);
    return done;
  }

  Controller controller;
  std::vector<Board> boards;
  Node node;
  std::int64_t now = 0;
  std::uint64_t highest = 0;
};

constexpr std::int64_t kSecond = 1000;

TEST(Looks, SetEverythingAtTheStartAndThenLookEvery1800Seconds) {
  Bench bench("{limit: 300}");
  EXPECT_THAT(bench.within(0), ElementsAre("0 on", "0 300 W", "1 on", "1 300 W"));
  EXPECT_THAT(bench.within(1799 * kSecond), ElementsAre("no look"));
  EXPECT_THAT(bench.within(1 * kSecond), IsEmpty());
  EXPECT_EQ(bench.now, 1800 * kSecond);
  EXPECT_TRUE(bench.controller.report().regular);
  EXPECT_EQ(bench.controller.report().looks, 2u);
  EXPECT_EQ(bench.controller.report().gpus[1].verdict.standing, Standing::kHeld);
}

TEST(Looks, GoByTheConfiguredInterval) {
  Bench bench("{limit: 300, reapply: 300}");
  bench.within(0);
  EXPECT_THAT(bench.within(299 * kSecond), ElementsAre("no look"));
  EXPECT_THAT(bench.within(1 * kSecond), IsEmpty());
  Bench never("{limit: 300, reapply: infinite}");
  never.within(0);
  EXPECT_EQ(never.controller.due_ms(), Controller::kNever);
}

TEST(Looks, SetOnlyTheGpuThatDrifted) {
  Bench bench("{limit: 300}");
  bench.within(0);
  bench.boards[1].limit_mw = 350'000;
  EXPECT_THAT(bench.within(1800 * kSecond), ElementsAre("1 300 W"));
  const Report& report = bench.controller.report();
  EXPECT_TRUE(report.gpus[1].drifted);
  EXPECT_FALSE(report.gpus[0].drifted);
  EXPECT_EQ(report.gpus[1].drifts, 1u);
  EXPECT_EQ(report.gpus[1].sets, 2u);
  EXPECT_EQ(report.gpus[1].reading.limit_mw, 350'000u);
  EXPECT_EQ(report.gpus[1].limit_mw, 300'000u);
  EXPECT_EQ(report.gpus[0].sets, 1u);
  EXPECT_EQ(report.gpus[0].drifts, 0u);
}

TEST(Looks, WaitForTheDriver) {
  Bench bench("{limit: 300}");
  bench.node.ready = false;
  bench.announce();
  EXPECT_EQ(bench.controller.due_ms(), Controller::kNever);
  bench.now += 3600 * kSecond;
  bench.node.ready = true;
  bench.announce();
  EXPECT_THAT(bench.within(0), ElementsAre("0 on", "0 300 W", "1 on", "1 300 W"));
}

TEST(Looks, FollowAReloadOfTheDriverAtOnce) {
  Bench bench("{limit: 300, graphicsClock: 900, persistence: false}");
  EXPECT_THAT(bench.within(0), ElementsAre("0 300 W", "0 900 MHz", "1 300 W", "1 900 MHz"));
  bench.now += 10 * kSecond;
  for (auto& board : bench.boards) board.limit_mw = 350'000;
  bench.node.starts = 2;
  bench.announce();
  EXPECT_THAT(bench.within(0), ElementsAre("0 300 W", "0 900 MHz", "1 300 W", "1 900 MHz"));
}

TEST(Looks, FollowAGpuThatComesBackAtOnceAndLeaveTheOthersAlone) {
  Bench bench("{limit: 300, graphicsClock: 900, persistence: false}");
  bench.within(0);
  bench.boards[1].reading.gpu.lost = true;
  bench.boards[1].reading.error = Error{Kind::kGone, "the GPU is lost", {}, {}, 15};
  bench.announce();
  EXPECT_THAT(bench.within(0), IsEmpty());
  EXPECT_EQ(bench.controller.report().gpus[1].verdict.standing, Standing::kUnreadable);
  // It is not asked again and again: its return is announced.
  EXPECT_THAT(bench.within(1799 * kSecond), ElementsAre("no look"));
  bench.boards[1].reading.gpu.lost = false;
  bench.boards[1].reading.error.reset();
  bench.boards[1].limit_mw = 350'000;
  bench.announce();
  EXPECT_THAT(bench.within(0), ElementsAre("1 300 W", "1 900 MHz"));
}

TEST(Looks, FollowANewConfigurationAtOnce) {
  Bench bench("{limit: 300, persistence: false}");
  bench.within(0);
  bench.controller.configure(options("{limit: 280, persistence: false}"), bench.now);
  EXPECT_THAT(bench.within(0), ElementsAre("0 280 W", "1 280 W"));
  bench.controller.configure(options("{limit: 280, persistence: false}"), bench.now);
  EXPECT_THAT(bench.within(1799 * kSecond), ElementsAre("no look"));
}

TEST(Failures, OfOneGpuStopNoOtherAndAreTriedAgainSoon) {
  Bench bench("{limit: 300, persistence: false}");
  bench.boards[0].refuses = Error{Kind::kInternal, "unknown error", {}, {}, 999};
  EXPECT_THAT(bench.within(0), ElementsAre("0 300 W refused", "1 300 W"));
  ASSERT_TRUE(bench.controller.report().gpus[0].failure.has_value());
  EXPECT_EQ(bench.controller.report().failures.at("internal"), 1u);
  // 5 s, 10 s, 20 s…: no storm.
  EXPECT_THAT(bench.within(4999), ElementsAre("no look"));
  EXPECT_THAT(bench.within(1), ElementsAre("0 300 W refused"));
  EXPECT_FALSE(bench.controller.report().regular);
  EXPECT_THAT(bench.within(9999), ElementsAre("no look"));
  bench.boards[0].refuses.reset();
  EXPECT_THAT(bench.within(1), ElementsAre("0 300 W"));
  // The regular look keeps its time.
  EXPECT_THAT(bench.within(1800 * kSecond), IsEmpty());
  EXPECT_EQ(bench.now, 1800 * kSecond);
}

TEST(Failures, ThatOnlyOthersCanMendAreTriedOnceAnInterval) {
  for (Kind kind : {Kind::kDenied, Kind::kUnsupported, Kind::kInvalid, Kind::kNotFound}) {
    Bench bench("{limit: 300, persistence: false}", 1);
    bench.boards[0].refuses = Error{kind, "no permission", {}, {}, 4};
    EXPECT_THAT(bench.within(0), ElementsAre("0 300 W refused"));
    EXPECT_THAT(bench.within(1799 * kSecond), ElementsAre("no look"));
    EXPECT_THAT(bench.within(1 * kSecond), ElementsAre("0 300 W refused"));
  }
}

TEST(Failures, IncludeASettingThatHasNoEffect) {
  Bench bench("{limit: 300, persistence: false}", 1);
  bench.boards[0].ignores = true;
  EXPECT_THAT(bench.within(0), ElementsAre("0 300 W"));
  const GpuReport& gpu = bench.controller.report().gpus[0];
  EXPECT_EQ(gpu.failure.value_or(Error{}).what,
            "the driver took the power limit and holds 350 W all the same");
  EXPECT_EQ(gpu.sets, 0u);
  EXPECT_EQ(gpu.limit_mw, 350'000u);
  EXPECT_THAT(bench.within(4 * kSecond), ElementsAre("no look"));
  EXPECT_THAT(bench.within(1 * kSecond), ElementsAre("0 300 W"));
}

TEST(Failures, ToReadAGpuAreTriedAgainSoon) {
  Bench bench("{limit: 300, persistence: false}");
  bench.boards[0].reading.error = Error{Kind::kTimeout, "did not answer", {}, {}, 0};
  EXPECT_THAT(bench.within(0), ElementsAre("1 300 W"));
  EXPECT_THAT(bench.within(4999), ElementsAre("no look"));
  bench.boards[0].reading.error.reset();
  EXPECT_THAT(bench.within(1), ElementsAre("0 300 W"));
}

TEST(Failures, ToReachTheDriverAreTriedAgainSoon) {
  Bench bench("{limit: 300, persistence: false}", 1);
  bench.now = bench.controller.due_ms();
  bench.controller.unreachable(Error{Kind::kTimeout, "hangs", {}, {}, 0}, bench.now);
  EXPECT_TRUE(bench.controller.report().unreachable.has_value());
  EXPECT_EQ(bench.controller.due_ms(), bench.now + 5000);
  bench.now += 5000;
  bench.controller.unreachable(Error{Kind::kTimeout, "hangs", {}, {}, 0}, bench.now);
  EXPECT_EQ(bench.controller.due_ms(), bench.now + 10'000);
  EXPECT_THAT(bench.within(10'000), ElementsAre("0 300 W"));
  EXPECT_TRUE(bench.controller.report().regular);
  EXPECT_FALSE(bench.controller.report().unreachable);
}

TEST(Restoring, PutsBackWhatWasChangedAndNothingElse) {
  Bench bench("{gpus: [{uuid: GPU-0, limit: 300, graphicsClock: 900, timeSlice: long}]}");
  bench.within(0);
  auto commands = bench.controller.restore();
  ASSERT_EQ(commands.size(), 3u);
  EXPECT_EQ(commands[0].uuid, "GPU-0");
  EXPECT_EQ(commands[0].limit_mw, 350'000u);
  EXPECT_EQ(commands[1].what, What::kGraphicsClock);
  EXPECT_FALSE(commands[1].clocks);
  EXPECT_EQ(commands[2].time_slice, config::TimeSlice::kDefault);
  Bench idle("{limit: 350}");
  idle.within(0);  // persistence alone
  EXPECT_TRUE(idle.controller.restore().empty());
}

TEST(Budget, IsReachedByLoweringFirstAndFollowsDemand) {
  Bench bench("{persistence: false, budget: {total: 550W, interval: 10s, hysteresis: 10}}");
  EXPECT_THAT(bench.within(0), ElementsAre("0 275 W", "1 275 W"));
  EXPECT_EQ(bench.controller.report().budget.value_or(BudgetReport{}).held_mw, 550'000u);
  bench.highest = 0;
  // One works, the other does not; it keeps what it might need for a minute.
  bench.boards[0].reading.draw_mw = 274'000;
  std::vector<std::string> done;
  for (int i = 0; i < 12 && done.empty(); ++i) done = bench.within(10 * kSecond);
  EXPECT_THAT(done, ElementsAre("1 200 W", "0 350 W"));
  EXPECT_LE(bench.highest, 550'000u);
  EXPECT_FALSE(bench.controller.report().regular);
}

TEST(Budget, RaisesNobodyWhileTheOtherDoesNotGiveUp) {
  Bench bench("{persistence: false, budget: {total: 550W, interval: 10s}}");
  bench.within(0);
  bench.boards[0].reading.draw_mw = 274'000;
  bench.boards[1].refuses = Error{Kind::kInternal, "unknown error", {}, {}, 999};
  bench.highest = 0;
  bool refused = false;
  for (int i = 0; i < 12; ++i) {
    for (const std::string& text : bench.within(10 * kSecond)) {
      refused = refused || text == "0 350 W may not";
      EXPECT_NE(text, "0 350 W");
    }
  }
  EXPECT_TRUE(refused);
  EXPECT_LE(bench.highest, 550'000u);
}

TEST(Budget, ReservesWhatASilentGpuHolds) {
  Bench bench("{persistence: false, budget: {total: 550W, interval: 10s}}");
  bench.within(0);
  bench.boards[1].reading.error = Error{Kind::kTimeout, "did not answer", {}, {}, 0};
  bench.boards[0].reading.draw_mw = 274'000;
  for (int i = 0; i < 12; ++i) {
    for (const std::string& text : bench.within(10 * kSecond)) EXPECT_EQ(text, "no look");
  }
  EXPECT_EQ(bench.boards[0].limit_mw, 275'000u);
}

TEST(Budget, SaysWhenItCannotBeHeld) {
  Bench bench("{persistence: false, budget: {total: 150W}}");
  EXPECT_THAT(bench.within(0), ElementsAre("0 100 W", "1 100 W"));
  EXPECT_TRUE(bench.controller.report().budget.value_or(BudgetReport{}).impossible);
}

TEST(Budget, KeepsBelowTheTargetOfEachGpu) {
  Bench bench("{limit: 200, persistence: false, budget: {total: 900W}}");
  EXPECT_THAT(bench.within(0), ElementsAre("0 200 W", "1 200 W"));
}

}  // namespace
}  // namespace kerf::power
