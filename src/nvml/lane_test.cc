#include "nvml/lane.h"

#include <atomic>
#include <filesystem>
#include <future>
#include <pthread.h>
#include <thread>

#include "base/roots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::nvml {
namespace {

using namespace std::chrono_literals;

// Long enough for any machine, so that only what should time out does; and long enough for a busy
// one to have started the call by then.
constexpr auto kAmple = 60s;
constexpr auto kShort = 300ms;

template <typename Condition>
bool eventually(Condition condition) {
  auto deadline = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return condition();
}

// A driver call that hangs until it is let go.
class Hang {
 public:
  auto work() {
    return [gate = gate_]() -> Result<int> {
      gate.wait();
      return 1;
    };
  }
  void release() { promise_.set_value(); }

 private:
  std::promise<void> promise_;
  std::shared_future<void> gate_ = promise_.get_future().share();
};

auto answer(int value) {
  return [value]() -> Result<int> { return value; };
}

std::size_t thread_count() {
  // A sanitizer starts a thread of its own with the first of ours; that one is not to be counted.
  static const bool first [[maybe_unused]] = (std::thread([] {}).join(), true);
  std::filesystem::directory_iterator tasks(Roots::below("/").proc + "/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST(Lane, RunsCallsOnAThreadOfItsOwnName) {
  Lane lane("nvml-call");
  auto name = lane.call("driver", kAmple, []() -> Result<std::string> {
    char buffer[16];
    pthread_getname_np(pthread_self(), buffer, sizeof buffer);
    return std::string(buffer);
  });
  EXPECT_EQ(name.value(), "nvml-call");
}

TEST(Lane, PassesErrorsOfTheCallThrough) {
  Lane lane;
  auto failed = lane.call(
      "driver", kAmple, []() -> Result<int> { return fail(Kind::kDenied, "no", "GPU 0", "", 4); });
  EXPECT_EQ(failed.error().kind, Kind::kDenied);
  EXPECT_EQ(failed.error().native, 4);
}

TEST(Lane, GivesUpACallAtItsDeadlineAndServesTheNextOnAnotherThread) {
  Hang hang;
  Lane lane;
  auto late = lane.call("GPU 0", kShort, hang.work());
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().kind, Kind::kTimeout);
  EXPECT_EQ(late.error().subject, "GPU 0");
  EXPECT_TRUE(lane.hangs("GPU 0"));
  EXPECT_EQ(lane.stats().hung, 1U);

  EXPECT_EQ(lane.call("GPU 1", kAmple, answer(7)).value(), 7);

  LaneStats stats = lane.stats();
  EXPECT_EQ(stats.calls, 2U);
  EXPECT_EQ(stats.timeouts, 1U);
  EXPECT_EQ(stats.replaced, 1U);
  EXPECT_GT(stats.stuck_seconds, 0.0);
  hang.release();
}

TEST(Lane, RefusesAtOnceWhatHangsAlready) {
  Hang hang;
  Lane lane;
  ASSERT_FALSE(lane.call("GPU 0", kShort, hang.work()).has_value());
  auto again = lane.call("GPU 0", kAmple, answer(1));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().kind, Kind::kTimeout);
  EXPECT_EQ(lane.stats().refused, 1U);
  EXPECT_EQ(lane.stats().timeouts, 1U);
  hang.release();
}

TEST(Lane, RefusesEverythingWhileBothThreadsHangAndIsHealthyWhenOneComesBack) {
  Hang first;
  Hang second;
  std::atomic<int> returns = 0;
  Lane lane("nvml-call", [&] { ++returns; });
  ASSERT_FALSE(lane.call("GPU 0", kShort, first.work()).has_value());
  ASSERT_FALSE(lane.call("GPU 1", kShort, second.work()).has_value());
  EXPECT_EQ(lane.call("GPU 2", kAmple, answer(1)).error().kind, Kind::kTimeout);
  EXPECT_EQ(lane.stats().hung, 2U);

  first.release();
  ASSERT_TRUE(eventually([&] { return returns == 1; }));
  EXPECT_EQ(lane.call("GPU 0", kAmple, answer(3)).value(), 3);
  EXPECT_EQ(lane.stats().hung, 1U);

  second.release();
  ASSERT_TRUE(eventually([&] { return returns == 2; }));
  EXPECT_EQ(lane.stats().stuck_seconds, 0.0);
  EXPECT_TRUE(lane.stop(kAmple));
}

TEST(Lane, ServesCallersThatWaitedBehindAHungCall) {
  Hang hang;
  Lane lane;
  std::promise<void> entered;
  std::thread hung([&] {
    auto work = [gate = hang.work(), &entered]() mutable -> Result<int> {
      entered.set_value();
      return gate();
    };
    EXPECT_FALSE(lane.call("GPU 0", 100ms, std::move(work)).has_value());
  });
  entered.get_future().wait();
  EXPECT_EQ(lane.call("GPU 1", kAmple, answer(5)).value(), 5);
  hung.join();
  hang.release();
}

TEST(Lane, KeepsToItsDeadlineWhileWaitingInTheQueue) {
  Hang hang;
  Lane lane;
  std::promise<void> entered;
  std::thread busy([&] {
    auto work = [gate = hang.work(), &entered]() mutable -> Result<int> {
      entered.set_value();
      return gate();
    };
    EXPECT_EQ(lane.call("GPU 0", kAmple, std::move(work)).value(), 1);
  });
  entered.get_future().wait();
  EXPECT_EQ(lane.call("GPU 1", kShort, answer(5)).error().kind, Kind::kTimeout);
  EXPECT_FALSE(lane.hangs("GPU 1"));  // it never began
  hang.release();
  busy.join();
}

TEST(Lane, StopWakesCallersAndDoesNotWaitForAHungCall) {
  Hang hang;
  auto last_ran = std::make_shared<std::promise<void>>();
  std::promise<void> entered;
  Lane lane;
  std::thread caller([&] {
    auto work = [gate = hang.work(), &entered]() mutable -> Result<int> {
      entered.set_value();
      return gate();
    };
    EXPECT_EQ(lane.call("GPU 0", kAmple, std::move(work)).error().kind, Kind::kGone);
  });
  entered.get_future().wait();
  EXPECT_FALSE(lane.stop(1ms, [last_ran] { last_ran->set_value(); }));
  caller.join();
  EXPECT_EQ(lane.call("GPU 1", kAmple, answer(1)).error().kind, Kind::kGone);
  hang.release();
  EXPECT_EQ(last_ran->get_future().wait_for(kAmple), std::future_status::ready);
  EXPECT_TRUE(lane.stop(kAmple));
}

TEST(Lane, MayGoAwayBeforeTheCallThatHangs) {
  auto hang = std::make_unique<Hang>();
  std::size_t before = thread_count();
  {
    Lane lane;
    ASSERT_FALSE(lane.call("GPU 0", kShort, hang->work()).has_value());
  }
  hang->release();
  hang.reset();
  EXPECT_TRUE(eventually([&] { return thread_count() <= before; }));
}

TEST(Lane, ReleasesWhatACallCapturedBeforeItStops) {
  auto owned = std::make_shared<int>(1);
  Lane lane;
  ASSERT_TRUE(lane.call("driver", kAmple, [owned]() -> Result<int> { return *owned; }).has_value());
  ASSERT_TRUE(lane.stop(kAmple));
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(Lane, AnswersManyCallersEachTheirOwn) {
  Lane lane;
  std::vector<std::thread> callers;
  std::atomic<int> right = 0;
  for (int caller = 0; caller < 8; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 200; ++i) {
        int wanted = caller * 1000 + i;
        if (lane.call("driver", kAmple, answer(wanted)).value() == wanted) ++right;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(right, 1600);
  EXPECT_EQ(lane.stats().calls, 1600U);
}

TEST(Lane, LeavesNoThreadsBehindOverManyLives) {
  std::size_t before = thread_count();
  for (int i = 0; i < 100; ++i) {
    Lane lane;
    ASSERT_EQ(lane.call("driver", kAmple, answer(i)).value(), i);
    ASSERT_TRUE(lane.stop(kAmple));
  }
  EXPECT_TRUE(eventually([&] { return thread_count() <= before; }));
}

}  // namespace
}  // namespace kerf::nvml
