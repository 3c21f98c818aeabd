#include "agent/steps.h"

namespace kerf::agent {
namespace {

TEST(Steps, AreUndoneInReverseAndOnlyIfTheyWereDone) {
  std::vector<std::string> seen;
  {
    Steps steps(system_clock());
    EXPECT_TRUE(steps.run("one", [] { return Status(); }, [&] { seen.push_back("one"); }));
    EXPECT_TRUE(steps.run("two", [] { return Status(); }, [&] { seen.push_back("two"); }));
    Status third = steps.run(
        "three", [] { return Status(fail(Kind::kBusy, "address in use", ":2112")); },
        [&] { seen.push_back("three"); });
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().what, "three: address in use");
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"two", "one"}));
}

TEST(Steps, TearDownHappensOnce) {
  int downs = 0;
  Steps steps(system_clock());
  ASSERT_TRUE(steps.run("one", [] { return Status(); }, [&] { ++downs; }));
  steps.tear_down();
  steps.tear_down();
  EXPECT_EQ(downs, 1);
}

}  // namespace
}  // namespace kerf::agent
