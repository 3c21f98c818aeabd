#include "metrics/node_status.h"

#include "page/sample_nodes.h"

namespace kerf::metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(NodeStatus, OfAHealthyNodeHasNoProblemsAndIsReady) {
  auto node = samples::healthy();
  EXPECT_THAT(problems_of(node), IsEmpty());
  EXPECT_EQ(overall(problems_of(node)), "ok");
  EXPECT_EQ(not_ready_reason(node), "");
}

TEST(NodeStatus, ReportsOneSickGpuAsDegradedAndStaysUp) {
  auto problems = problems_of(samples::one_unhealthy());
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_THAT(problems[0].what, HasSubstr("Xid 79"));
  EXPECT_THAT(problems[0].subject, HasSubstr("GPU 1"));
  EXPECT_THAT(problems[1].what, HasSubstr("refused"));
  EXPECT_EQ(overall(problems), "degraded");
  EXPECT_FALSE(has_failed(problems));
}

TEST(NodeStatus, FailsWhenEveryGpuIsUnhealthy) {
  auto node = samples::one_unhealthy();
  node.gpus[0].health = {false, "gpu_lost", "lost", 1};
  EXPECT_TRUE(has_failed(problems_of(node)));
}

struct DriverCase {
  DriverState state;
  bool was_ready;
  bool fail_on_init_error;
  std::string_view status;
  bool ready;
  friend std::ostream& operator<<(std::ostream& out, const DriverCase& test) {
    return out << to_string(test.state) << (test.was_ready ? ", was ready" : ", never ready")
               << (test.fail_on_init_error ? ", must be there" : ", may come later");
  }
};
class DriverHealth : public ::testing::TestWithParam<DriverCase> {};
TEST_P(DriverHealth, FollowsFromStateAndPolicy) {
  auto node = samples::no_driver();
  node.driver.state = GetParam().state;
  node.driver_was_ready = GetParam().was_ready;
  node.fail_on_init_error = GetParam().fail_on_init_error;
  EXPECT_EQ(overall(problems_of(node)), GetParam().status);
  EXPECT_EQ(not_ready_reason(node).empty(), GetParam().ready);
  for (const Problem& problem : problems_of(node)) EXPECT_FALSE(problem.remedy.empty());
}
INSTANTIATE_TEST_SUITE_P(
    All, DriverHealth,
    ::testing::Values(DriverCase{DriverState::kAbsent, false, false, "waiting", true},
                      DriverCase{DriverState::kAbsent, false, true, "failed", false},
                      DriverCase{DriverState::kAbsent, true, false, "failed", false},
                      DriverCase{DriverState::kFailed, true, false, "failed", false},
                      DriverCase{DriverState::kStuck, true, false, "failed", false},
                      DriverCase{DriverState::kReady, true, true, "waiting", true}));

TEST(NodeStatus, IsNotReadyWhileAResourceIsUnregistered) {
  auto node = samples::healthy();
  node.resources[0].registered = false;
  node.resources[0].last_error = "connection refused";
  EXPECT_THAT(not_ready_reason(node), HasSubstr("nvidia.com/gpu"));
  auto problems = problems_of(node);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0].what, HasSubstr("connection refused"));
  node.kubelet.socket.clear();  // no kubelet wanted
  EXPECT_EQ(not_ready_reason(node), "");
  EXPECT_THAT(problems_of(node), IsEmpty());
}

TEST(NodeStatus, IsNotReadyBeforeItHasStarted) {
  auto node = samples::no_driver();
  node.started = false;
  EXPECT_EQ(not_ready_reason(node), "starting");
}

TEST(NodeStatus, PutsTheWorstProblemFirst) {
  auto node = samples::one_unhealthy();
  node.problems.push_back({Severity::kFailed, "disk is full", "", ""});
  EXPECT_EQ(problems_of(node).front().what, "disk is full");
}

TEST(OwnerText, NamesThePodWhenKnownAndTheTimeOtherwise) {
  EXPECT_EQ(owner_text({0, UseSource::kPodResources, "default", "job", "main"}),
            "default/job (main)");
  EXPECT_EQ(owner_text({1'700'000'000'000, UseSource::kAllocate, "", "", ""}),
            "allocated 22:13:20 UTC");
  EXPECT_EQ(owner_text({}), "allocated");
}

TEST(SliceStatus, IsUnhealthyEvenWhileSomebodyStillHoldsIt) {
  SliceStatus slice;
  EXPECT_EQ(slice.state(), SliceState::kFree);
  slice.use = SliceUse{};
  EXPECT_EQ(slice.state(), SliceState::kInUse);
  slice.healthy = false;
  EXPECT_EQ(slice.state(), SliceState::kUnhealthy);
}

}  // namespace
}  // namespace kerf::metrics
