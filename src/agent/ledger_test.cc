#include "agent/ledger.h"

namespace kerf::agent {
namespace {

using Ids = std::vector<std::string_view>;

TEST(Ledger, TakesAllocateAtItsWordUntilSomebodyKnowsBetter) {
  Ledger ledger;
  ledger.allocated(Ids{"a::0", "a::1"}, 10);
  ASSERT_NE(ledger.find("a::1"), nullptr);
  EXPECT_EQ(ledger.find("a::1")->since_ms, 10);
}

TEST(Ledger, LearnsReturnedDevicesFromWhatTheKubeletCallsAvailable) {
  Ledger ledger;
  ledger.allocated(Ids{"a::0", "a::1"}, 10);
  ledger.available(Ids{"a::0", "a::1", "a::2"}, Ids{"a::0"}, 20);
  EXPECT_EQ(ledger.find("a::0"), nullptr);
  EXPECT_EQ(ledger.find("a::1")->since_ms, 10);
  EXPECT_EQ(ledger.find("a::2")->source, Source::kPreferredAllocation);
}

TEST(Ledger, DoesNotCallAnUnhealthyDeviceInUseBecauseItIsNotAvailable) {
  Ledger ledger;
  ledger.available(Ids{"a::0"}, Ids{"a::0"}, 20);  // b::0 is unhealthy and left out of both
  EXPECT_EQ(ledger.find("b::0"), nullptr);
}

TEST(Ledger, PodResourcesNamesOwnersAndFreesWhatIsMissing) {
  Ledger ledger;
  ledger.allocated(Ids{"a::0", "a::1"}, 10);
  ledger.pod_resources(std::vector<ContainerDevices>{{"ns/pod/main", {"a::0"}}}, 20, 21);
  EXPECT_EQ(ledger.find("a::0")->owner, "ns/pod/main");
  EXPECT_EQ(ledger.find("a::0")->since_ms, 10);
  EXPECT_EQ(ledger.find("a::1"), nullptr);
}

TEST(Ledger, KeepsWhatWasAllocatedWhileTheKubeletWasAnswering) {
  Ledger ledger;
  ledger.allocated(Ids{"a::1"}, 30);
  ledger.pod_resources({}, 25, 31);
  EXPECT_NE(ledger.find("a::1"), nullptr);
  ledger.pod_resources({}, 40, 41);
  EXPECT_EQ(ledger.find("a::1"), nullptr);
}

TEST(Ledger, ANewOwnerStartsANewUse) {
  Ledger ledger;
  ledger.pod_resources(std::vector<ContainerDevices>{{"ns/one/c", {"a::0"}}}, 1, 2);
  ledger.pod_resources(std::vector<ContainerDevices>{{"ns/two/c", {"a::0"}}}, 5, 6);
  EXPECT_EQ(ledger.find("a::0")->since_ms, 6);
}

TEST(Ledger, ForgetsDevicesThatAreNoLongerAdvertised) {
  Ledger ledger;
  ledger.allocated(Ids{"a::8", "a::1"}, 1);
  ledger.keep_only(std::vector<std::string>{"a::0", "a::1"});
  EXPECT_EQ(ledger.size(), 1u);
}

}  // namespace
}  // namespace kerf::agent
