#include "usage/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::usage {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;
const Key kKey{{"ml", "a", "main"}, "GPU-a"};

std::map<Key, Use> using_memory(double gib, std::optional<std::uint64_t> limit = 6 * kGiB,
                                const std::string& uid = "u-1") {
  Use use;
  use.memory_bytes = static_cast<std::uint64_t>(gib * static_cast<double>(kGiB));
  use.limit_bytes = limit;
  use.uid = uid;
  return {{kKey, use}};
}

TEST(Watchdog, TellsOnceOfAContainerThatStaysAboveItsShare) {
  Watchdog dog;
  EXPECT_TRUE(dog.look(using_memory(7), 1'000).empty()) << "not long enough yet";
  EXPECT_TRUE(dog.look(using_memory(8), 30'000).empty());
  auto turns = dog.look(using_memory(8), 31'000);
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_TRUE(turns[0].began);
  EXPECT_EQ(turns[0].standing.bytes, 8 * kGiB);
  EXPECT_EQ(turns[0].standing.limit_bytes, 6 * kGiB);
  EXPECT_TRUE(dog.look(using_memory(8), 90'000).empty()) << "told already";
  EXPECT_TRUE(dog.standings().at(kKey).breach);
}

TEST(Watchdog, TellsWhenItIsOver) {
  Watchdog dog;
  dog.look(using_memory(8), 1'000);
  ASSERT_EQ(dog.look(using_memory(8), 40'000).size(), 1U);
  EXPECT_TRUE(dog.look(using_memory(5), 45'000).empty());
  auto turns = dog.look(using_memory(5), 75'000);
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_FALSE(turns[0].began);
}

TEST(Watchdog, IsNotTriggeredByAPeakOrByWhatIsTolerated) {
  Watchdog dog;
  for (std::int64_t second = 1; second < 600; second += 10) {
    EXPECT_TRUE(dog.look(using_memory(second % 20 == 1 ? 20 : 5), second * 1000).empty());
  }
  Watchdog tolerant;
  for (std::int64_t second = 1; second < 600; second += 10) {
    EXPECT_TRUE(tolerant.look(using_memory(6.2), second * 1000).empty()) << "within 5 %";
  }
}

TEST(Watchdog, DoesNotFlapAroundTheLimit) {
  Watchdog dog;
  dog.look(using_memory(8), 1'000);
  ASSERT_EQ(dog.look(using_memory(8), 40'000).size(), 1U);
  for (std::int64_t second = 50; second < 600; second += 10) {
    EXPECT_TRUE(dog.look(using_memory(second % 20 == 10 ? 8 : 5), second * 1000).empty());
  }
}

TEST(Watchdog, JudgesAPodThatIsMadeAnewAnew) {
  Watchdog dog;
  dog.look(using_memory(8), 1'000);
  ASSERT_EQ(dog.look(using_memory(8), 40'000).size(), 1U);
  EXPECT_TRUE(dog.look(using_memory(8, 6 * kGiB, "u-2"), 50'000).empty());
  EXPECT_EQ(dog.look(using_memory(8, 6 * kGiB, "u-2"), 80'000).size(), 1U);
}

TEST(Watchdog, LeavesThoseWithoutALimitAlone) {
  Watchdog dog;
  dog.look(using_memory(8, {}), 1'000);
  EXPECT_TRUE(dog.look(using_memory(8, {}), 90'000).empty());
  EXPECT_TRUE(dog.standings().empty());
  dog.look(using_memory(8), 1'000);
  dog.look({}, 2'000);
  EXPECT_TRUE(dog.standings().empty()) << "gone";
}

}  // namespace
}  // namespace kerf::usage
