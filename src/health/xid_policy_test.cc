#include "health/xid_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::health {
namespace {

using Xids = std::vector<std::uint64_t>;

struct Row {
  std::string_view name;
  std::string_view disable;
  std::string_view enable;
  bool watches;
  Xids ignored;
  Xids counted;
};

const Row kRows[] = {
    {"default", "", "", true, {13, 31, 43, 45, 68, 109}, {0, 11, 48, 74, 79, 94, 95}},
    {"all off", "all", "", false, {13, 31, 48, 79, 94}, {}},
    {"xids off", "xids", "", false, {13, 31, 48, 79, 94}, {}},
    {"off wins over single XIDs", "all", "79", false, {13, 48, 79}, {}},
    {"all on", "", "all", true, {}, {13, 31, 43, 45, 68, 109, 79}},
    {"all on over all off", "all", "all", true, {}, {13, 79}},
    {"on wins over off", "11", "11", true, {13, 31, 43, 45, 68, 109}, {11, 79}},
    {"lists", "79, 94", "31", true, {13, 43, 45, 68, 79, 94, 109}, {31, 48}},
    {"all among others", "79,ALL,94", "", false, {1, 79}, {}},
    {"zero is all", "0", "", false, {1, 79}, {}},
    {"zero on is all on", "", "0", true, {}, {13, 79}},
    {"empty items", " , ,79,", ",", true, {13, 79}, {48}},
    {"not numbers", "xid79, -3, 7 9, 12", "1e3", true, {12, 13}, {79, 7, 9, 3}},
    {"too great", "18446744073709551616", "", true, {13}, {79}},
};

TEST(XidPolicy, IsTheDevicePluginsTable) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    XidPolicy policy(row.disable, row.enable);
    EXPECT_EQ(policy.watches(), row.watches);
    for (std::uint64_t xid : row.ignored) EXPECT_TRUE(policy.ignores(xid)) << xid;
    for (std::uint64_t xid : row.counted) EXPECT_FALSE(policy.ignores(xid)) << xid;
  }
}

TEST(XidPolicy, TakesActionsByXidAndLetsTheListsGoBeforeThem) {
  using enum XidAction;
  const XidPolicy::Actions given = {{13, kUnhealthy}, {31, kDrain},  {48, kUnhealthy},
                                    {79, kDrain},     {94, kIgnore}, {63, kIgnore}};
  struct {
    std::string_view name, disable, enable;
    XidPolicy::Actions actions;
    std::map<std::uint64_t, XidAction> want;
  } const rows[] = {
      {"defaults",
       "",
       "",
       {},
       {{13, kIgnore}, {94, kUnhealthy}, {48, kUnhealthyUntilReset}, {79, kUnhealthyUntilReset}}},
      {"given",
       "",
       "",
       given,
       {{13, kUnhealthy},
        {31, kDrain},
        {43, kIgnore},
        {48, kUnhealthy},
        {79, kDrain},
        {94, kIgnore}}},
      {"disabled", "79,13", "", given, {{79, kIgnore}, {13, kIgnore}, {31, kDrain}}},
      {"enabled", "", "94,43", given, {{94, kUnhealthy}, {43, kUnhealthy}, {63, kIgnore}}},
      {"all enabled", "", "all", given, {{94, kUnhealthy}, {63, kUnhealthy}, {31, kDrain}}},
      {"all disabled", "all", "79", given, {{79, kIgnore}, {48, kIgnore}, {1, kIgnore}}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    XidPolicy policy(row.disable, row.enable, row.actions);
    for (const auto& [xid, action] : row.want) EXPECT_EQ(policy.action(xid), action) << xid;
  }
}

TEST(XidPolicy, WarnsOfItemsItDoesNotUnderstand) {
  EXPECT_TRUE(XidPolicy("79,all", "13").warnings().empty());
  XidPolicy policy("xid79", "many");
  ASSERT_EQ(policy.warnings().size(), 2U);
  EXPECT_THAT(policy.warnings()[0], testing::HasSubstr("DP_DISABLE_HEALTHCHECKS: \"xid79\""));
  EXPECT_THAT(policy.warnings()[1], testing::HasSubstr("DP_ENABLE_HEALTHCHECKS: \"many\""));
}

}  // namespace
}  // namespace kerf::health
