// What page and metrics say of power.
#include "agent/power_report.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace kerf::agent {
namespace {

using power::GpuReport;
using power::Report;
using power::Standing;

GpuReport gpu(unsigned index, Standing standing) {
  GpuReport out;
  out.reading.gpu = {index, "GPU-" + std::to_string(index), "NVIDIA GeForce RTX 3090",
                     "0000:01:00.0", false};
  out.reading.limit_mw = 350'000;
  out.reading.enforced_mw = 350'000;
  out.limit_mw = 300'000;
  out.verdict.standing = standing;
  out.verdict.wanted_mw = 300'000;
  out.sets = 2;
  return out;
}

// The value of a sample, or −1 when there is none.
double value(const Report& report, const std::string& name, const std::string& uuid = "") {
  for (const metrics::Family& family : power_families(report)) {
    if (family.name != name) continue;
    for (const metrics::Sample& sample : family.samples) {
      const bool matches =
          uuid.empty() ||
          std::ranges::find(sample.labels, std::pair<std::string, std::string>("uuid", uuid)) !=
              sample.labels.end();
      if (matches) return sample.value;
    }
  }
  return -1;
}

TEST(PowerProblems, AreNoneWhereAllIsHeldSkippedOrLost) {
  Report report;
  for (Standing standing :
       {Standing::kHeld, Standing::kDrifted, Standing::kUnmanaged, Standing::kUnsupported}) {
    report.gpus.push_back(gpu(0, standing));
  }
  report.gpus.push_back(gpu(1, Standing::kUnreadable));
  report.gpus.back().reading.gpu.lost = true;  // health says so already
  EXPECT_TRUE(power_problems(report).empty());
}

TEST(PowerProblems, NameTheGpuAndARemedyAndNeverFailTheNode) {
  Report report;
  report.gpus.push_back(gpu(0, Standing::kRefused));
  report.gpus.back().verdict.why = "50 W is outside the 100 W to 390 W that the board takes";
  report.gpus.push_back(gpu(1, Standing::kUnreadable));
  report.gpus.push_back(gpu(2, Standing::kDrifted));
  report.gpus.back().failure = Error{Kind::kDenied, "no permission", "GPU-2", "be root", 4};
  report.budget = power::BudgetReport{150'000, 200'000, true};
  report.unreachable = Error{Kind::kTimeout, "hangs", "driver", "see the kernel log", 0};
  const std::vector<metrics::Problem> problems = power_problems(report);
  ASSERT_EQ(problems.size(), 5u);
  for (const metrics::Problem& problem : problems) {
    EXPECT_EQ(problem.severity, metrics::Severity::kDegraded);
    EXPECT_TRUE(problem.remedy.ends_with(".")) << problem.what;
  }
  EXPECT_EQ(problems[1].subject, "GPU-0");
  EXPECT_EQ(problems[3].remedy, "be root.");
}

TEST(PowerFamilies, AreInWattsAndOnlyOfWhatIsKnown) {
  Report report;
  report.looks = 7;
  report.gpus.push_back(gpu(0, Standing::kHeld));
  report.gpus.push_back(gpu(1, Standing::kUnsupported));
  report.gpus.back().limit_mw.reset();
  report.gpus.back().verdict.wanted_mw.reset();
  EXPECT_EQ(value(report, "kerf_power_target_watts", "GPU-0"), 300);
  EXPECT_EQ(value(report, "kerf_power_limit_watts", "GPU-0"), 300);
  EXPECT_EQ(value(report, "kerf_power_limit_watts", "GPU-1"), -1);
  EXPECT_EQ(value(report, "kerf_power_target_watts", "GPU-1"), -1);
  EXPECT_EQ(value(report, "kerf_power_applied_total", "GPU-1"), 2);
  EXPECT_EQ(value(report, "kerf_power_checks_total"), 7);
  EXPECT_EQ(value(report, "kerf_power_budget_watts"), -1);
  report.budget = power::BudgetReport{550'000, 500'000, false};
  EXPECT_EQ(value(report, "kerf_power_budget_watts"), 550);
  EXPECT_EQ(value(report, "kerf_power_budget_held_watts"), 500);
}

TEST(PowerFamilies, AreTheSameNamesWhateverIsFound) {
  Report full;
  full.gpus.push_back(gpu(0, Standing::kHeld));
  const auto some = power_families(full);
  const auto none = power_families(Report{});
  ASSERT_EQ(some.size(), none.size());
  for (std::size_t i = 0; i < some.size(); ++i) EXPECT_EQ(some[i].name, none[i].name);
}

}  // namespace
}  // namespace kerf::agent
