#include "agent/event_filter.h"

namespace kerf::agent {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000;

TEST(EventFilter, TellsWhatIsNewAtOnce) {
  EventFilter filter;
  filter.happened("GPUUnhealthy", "GPU-a: Xid 79", true, kStart);
  std::vector<KubeEvent> told = filter.take(kStart);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0], (KubeEvent{"GPUUnhealthy", "GPU-a: Xid 79", true, 1, kStart, kStart}));
  EXPECT_FALSE(filter.next_ms().has_value());
}

TEST(EventFilter, CountsWhatRepeatsAndTellsItOncePerPeriod) {
  EventFilter filter;
  filter.happened("A", "x", false, kStart);
  EXPECT_EQ(filter.take(kStart).size(), 1U);
  for (int i = 1; i <= 10'000; ++i) filter.happened("A", "x", false, kStart + i);
  EXPECT_TRUE(filter.take(kStart + 10'000).empty());
  ASSERT_TRUE(filter.next_ms().has_value());
  EXPECT_EQ(*filter.next_ms(), kStart + EventFilter::kRepeatMs);
  std::vector<KubeEvent> told = filter.take(*filter.next_ms());
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].count, 10'000U);
  EXPECT_EQ(told[0].first_ms, kStart + 1);
  EXPECT_EQ(told[0].last_ms, kStart + 10'000);
}

TEST(EventFilter, SpreadsManyDifferentOnesOverTimeAndLosesNone) {
  EventFilter filter;
  for (int i = 0; i < 40; ++i) filter.happened("A", std::to_string(i), false, kStart + i);
  std::int64_t now = kStart + 40;
  std::vector<std::string> order;
  for (const KubeEvent& event : filter.take(now)) order.push_back(event.message);
  EXPECT_EQ(order.size(), EventLimits().burst);
  while (filter.next_ms()) {
    EXPECT_GT(*filter.next_ms(), now);
    now = *filter.next_ms();
    std::vector<KubeEvent> told = filter.take(now);
    EXPECT_EQ(told.size(), 1U);
    for (const KubeEvent& event : told) order.push_back(event.message);
  }
  ASSERT_EQ(order.size(), 40U);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], std::to_string(i));
}

TEST(EventFilter, HoldsABoundedNumber) {
  EventFilter filter;
  for (int i = 0; i < 10'000; ++i) filter.happened("A", std::to_string(i), false, kStart);
  EXPECT_EQ(filter.dropped(), 10'000 - EventLimits().held);
}

TEST(EventFilter, ForgetsWhatWasLongAgo) {
  EventFilter filter;
  for (int i = 0; i < 10'000; ++i) {
    std::int64_t now = kStart + i * EventFilter::kRepeatMs;
    filter.happened("A", std::to_string(i), false, now);
    EXPECT_EQ(filter.take(now).size(), 1U);
  }
  EXPECT_EQ(filter.dropped(), 0U);
}

TEST(EventFilter, BearsAClockThatIsSetBack) {
  EventFilter filter;
  for (int i = 0; i < 20; ++i) filter.happened("A", std::to_string(i), false, kStart);
  EXPECT_EQ(filter.take(kStart).size(), EventLimits().burst);
  std::int64_t now = kStart - 1'000'000;
  EXPECT_TRUE(filter.take(now).empty());
  EXPECT_EQ(filter.take(now + EventLimits().refill_ms).size(), 1U);
}

}  // namespace
}  // namespace kerf::agent
