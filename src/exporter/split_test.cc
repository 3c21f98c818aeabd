#include "exporter/split.h"

#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kerf::exporter {
namespace {

const Field& field(std::string_view name) { return *find_field(name); }

Share with(Share::Own own) {
  Share out;
  out.own = own;
  return out;
}

std::vector<Value> split_of(std::string_view name, Value whole, const std::vector<Share>& shares) {
  std::vector<const Share*> pointers;
  for (const Share& share : shares) pointers.push_back(&share);
  return split(field(name), whole, pointers);
}

TEST(Splitting, IsForWhatSomebodyUses) {
  for (const char* name :
       {"DCGM_FI_DEV_FB_USED", "dcgm_fb_used", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO",
        "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS",
        "DCGM_FI_DEV_POWER_USAGE_INSTANT", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"}) {
    EXPECT_TRUE(can_be_split(field(name), false)) << name;
    const bool memory = field(name).source == Source::kMemory;
    EXPECT_EQ(can_be_split(field(name), true), memory) << name;
  }
  for (const char* name : {"DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_TOTAL", "DCGM_FI_DEV_GPU_TEMP",
                           "DCGM_FI_DEV_MEM_COPY_UTIL", "DCGM_FI_DEV_ENFORCED_POWER_LIMIT",
                           "DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"}) {
    EXPECT_FALSE(can_be_split(field(name), false)) << name;
  }
}

TEST(Splitting, GivesEachItsPart) {
  const std::vector<Share> three = {with({3000, 0.5, 0.25, 10}), with({1000, 0.25, 0.125, 20}),
                                    with({0, 0, 0, 0})};
  using Values = std::vector<Value>;
  auto integers = [](std::int64_t a, std::int64_t b, std::int64_t c) {
    return Values{Value::integer(a), Value::integer(b), Value::integer(c)};
  };
  EXPECT_EQ(split_of("DCGM_FI_DEV_FB_USED", Value::integer(5000), three), integers(3000, 1000, 0));
  EXPECT_EQ(split_of("DCGM_FI_DEV_GPU_UTIL", Value::integer(80), three), integers(40, 20, 0));
  EXPECT_EQ(split_of("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Value::integer(99), three),
            integers(10, 20, 0));
  EXPECT_EQ(split_of("DCGM_FI_DEV_POWER_USAGE", Value::real(200), three),
            (Values{Value::real(50), Value::real(25), Value::real(0)}));
}

TEST(Splitting, NeverGivesAwayMoreThanThereIs) {
  // What the device said is older than what its processes use.
  EXPECT_EQ(split_of("DCGM_FI_DEV_FB_USED", Value::integer(2000),
                     {with({3000, {}, {}, {}}), with({1000, {}, {}, {}})}),
            (std::vector<Value>{Value::integer(1500), Value::integer(500)}));
  EXPECT_EQ(split_of("DCGM_FI_DEV_FB_USED", Value::integer(0), {with({3000, {}, {}, {}})}),
            (std::vector<Value>{Value::integer(0)}));
}

TEST(Splitting, LeavesOutWhatIsNotKnown) {
  const std::vector<Value> parts = split_of("DCGM_FI_DEV_GPU_UTIL", Value::integer(80),
                                            {with({}), with({{}, 1.0, {}, {}}), Share()});
  EXPECT_TRUE(parts.at(0).blank());
  EXPECT_EQ(parts.at(1), Value::integer(80));
  EXPECT_TRUE(parts.at(2).blank());
  EXPECT_TRUE(split_of("DCGM_FI_DEV_GPU_UTIL", Value(), {with({{}, 1.0, {}, {}})}).at(0).blank());
  EXPECT_TRUE(split_of("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Value(), {with({{}, {}, {}, 5})})
                  .at(0)
                  .blank());
}

// Each has its part to within one, and together with the rest they are the whole, to the unit.
RC_GTEST_PROP(Splitting, AddsUpWithTheRestToTheDevicesFigure, ()) {
  const auto whole = *rc::gen::inRange<std::int64_t>(0, 100'000);
  const auto weights = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 1000));
  const int rest = *rc::gen::inRange(0, 1000);
  const double sum = std::accumulate(weights.begin(), weights.end(), double(rest) + 1e-9);
  std::vector<Share> shares;
  for (int each : weights) shares.push_back(with({{}, each / sum, each / sum, {}}));
  std::int64_t given = 0;
  const std::vector<Value> parts = split_of("DCGM_FI_DEV_GPU_UTIL", Value::integer(whole), shares);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    RC_ASSERT(parts[i].integer() >= 0);
    RC_ASSERT(std::abs(static_cast<double>(parts[i].integer()) -
                       static_cast<double>(whole) * weights[i] / sum) <= 1);
    given += parts[i].integer();
  }
  RC_ASSERT(given <= whole);
  RC_ASSERT(
      std::abs(static_cast<double>(whole - given) - static_cast<double>(whole) * rest / sum) <= 1);
  double watts = 0;
  for (const Value& part :
       split_of("DCGM_FI_DEV_POWER_USAGE", Value::real(static_cast<double>(whole)), shares)) {
    watts += part.real();
  }
  RC_ASSERT(std::abs(watts + static_cast<double>(whole) * rest / sum -
                     static_cast<double>(whole)) <= 1e-6 * (1 + static_cast<double>(whole)));
}

}  // namespace
}  // namespace kerf::exporter
