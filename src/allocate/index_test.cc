// Finding devices by the ids that a kubelet sends, of which any bytes may come.
#include "allocate/index.h"

#include <string>

#include "plan/sample_nodes.h"

#include <gtest/gtest.h>

namespace kerf::allocate {
namespace {

namespace sample = plan::sample;

TEST(Index, FindsEveryDeviceAndNothingElse) {
  for (const unsigned replicas : {1U, 2U, 10U, 100U, 1001U}) {
    const Index index(sample::plan(sample::gpus(3), sample::shared(replicas)), 0);
    const auto& devices = index.resource().devices;
    ASSERT_EQ(devices.size(), 3 * replicas);
    ASSERT_EQ(index.groups().size(), 3U);
    EXPECT_EQ(index.groups()[2].devices.size(), replicas);
    for (std::uint32_t at = 0; at < devices.size(); ++at) {
      EXPECT_EQ(index.find(devices[at].id), at);
      EXPECT_EQ(index.find(devices[at].id + "0").has_value(),
                at % replicas > 0 && at % replicas * 10 < replicas);
      EXPECT_FALSE(index.find(devices[at].id + ":"));
      EXPECT_FALSE(index.find(" " + devices[at].id));
      EXPECT_FALSE(index.find(std::string_view(devices[at].id).substr(1)));
      EXPECT_EQ(index.group_of(at), at / replicas);
    }
  }
}

TEST(Index, TakesANumberOnlyAsItIsWritten) {
  const Index index(sample::plan(sample::gpus(2), sample::shared(101)), 0);
  const std::string gpu = index.resource().devices[0].physical_id;
  EXPECT_EQ(index.find(gpu + "::0"), 0U);
  EXPECT_EQ(index.find(gpu + "::100"), 100U);
  for (const char* odd : {"",
                          ":",
                          "::",
                          ":0",
                          "::00",
                          "::007",
                          "::-1",
                          "::+1",
                          "::1 ",
                          ":: 1",
                          "::1x",
                          "::x1",
                          "::0x1",
                          "::101",
                          "::1::1",
                          ":::1",
                          "::12345678",
                          "::00000001",
                          "::123456789",
                          "::4294967296",
                          "::18446744073709551616",
                          "::1/",
                          "::1:",
                          "::\x00",
                          "::\xff",
                          "::\xb1",
                          "::1\xb0"}) {
    EXPECT_FALSE(index.find(gpu + odd)) << odd;
  }
  EXPECT_FALSE(index.find(gpu + std::string("::\0", 3)));
}

TEST(Index, FindsNothingByShortOrForeignIds) {
  const Index index(sample::plan(sample::gpus(2), sample::shared(4)), 0);
  std::string gpu = index.resource().devices[0].physical_id;
  for (const char* foreign :
       {"", ":", "::", "::1", "a", "a::1", "GPU", "GPU-", "0::0", "1234567"}) {
    EXPECT_FALSE(index.find(foreign)) << foreign;
  }
  for (char& letter : gpu) {  // a difference anywhere tells
    letter = static_cast<char>(letter ^ 0x40);
    EXPECT_FALSE(index.find(gpu + "::1")) << gpu;
    letter = static_cast<char>(letter ^ 0x40);
  }
}

TEST(Index, FindsIdsOfAnyLength) {
  for (const std::size_t size : {1U, 3U, 7U, 8U, 9U, 15U, 16U, 17U, 23U, 50U}) {
    inventory::Snapshot node = *sample::gpus(2);
    for (auto& gpu : node.gpus) {
      gpu.uuid = std::string(size - 1, 'g') + static_cast<char>('a' + (&gpu - &node.gpus[0]));
    }
    const Index index(
        sample::plan(std::make_shared<const inventory::Snapshot>(node), sample::shared(20)), 0);
    for (std::uint32_t at = 0; at < index.resource().devices.size(); ++at) {
      EXPECT_EQ(index.find(index.resource().devices[at].id), at) << size;
    }
  }
}

}  // namespace
}  // namespace kerf::allocate
