#include "config/parse.h"
#include "config/types.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::config {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(UsageSection, SetsIntervalAndWatchdog) {
  auto parsed = parse(
      "usage:\n  interval: 10s\n  memoryWatchdog:\n    action: evict\n"
      "    window: 2m\n    tolerancePercent: 10\n    quotaAnnotation: false\n",
      "c.yaml");
  EXPECT_TRUE(parsed.findings.empty());
  const UsageOptions& usage = parsed.values.usage;
  EXPECT_EQ(usage.interval_ns, 10 * kSecond);
  EXPECT_EQ(usage.over_share, OverShare::kEvict);
  EXPECT_EQ(usage.window_ns, 120 * kSecond);
  EXPECT_EQ(usage.tolerance_percent, 10U);
  EXPECT_FALSE(usage.quota_annotation);
}

TEST(UsageSection, IsQuietByDefault) {
  EXPECT_EQ(parse("version: v1\n", "c.yaml").values.usage, UsageOptions{});
  EXPECT_EQ(UsageOptions{}.over_share, OverShare::kNone);
}

TEST(UsageSection, SaysWhatIsWrongAndWhatToWrite) {
  struct Row {
    const char* text;
    const char* path;
    const char* message;
  };
  const std::vector<Row> table = {
      {"usage:\n  interval: 10ms\n", "usage.interval", "out of range"},
      {"usage:\n  interval: 7\n", "usage.interval", "duration with a unit"},
      {"usage:\n  memoryWatchdog: kill\n", "usage.memoryWatchdog", "mapping"},
      {"usage:\n  memoryWatchdog:\n    action: kill\n", "usage.memoryWatchdog.action",
       "unknown action: kill"},
      {"usage:\n  memoryWatchdog:\n    tolerancePercent: 101\n",
       "usage.memoryWatchdog.tolerancePercent", "101 is out of range"},
      {"usage:\n  memoryWatchdog:\n    tolerancePercent: -1\n",
       "usage.memoryWatchdog.tolerancePercent", "-1 is out of range"},
  };
  for (const Row& row : table) {
    auto parsed = parse(row.text, "c.yaml");
    ASSERT_EQ(parsed.findings.size(), 1U) << row.text;
    EXPECT_EQ(parsed.findings[0].path, row.path);
    EXPECT_THAT(parsed.findings[0].message, HasSubstr(row.message));
    EXPECT_FALSE(parsed.findings[0].hint.empty());
  }
}

}  // namespace
}  // namespace kerf::config
