#include "pods/codec.h"

#include "proto/podresources.pb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::pods {
namespace {

using testing::ElementsAre;

void add(v1::ListPodResourcesResponse& answer, const std::string& pod, const std::string& container,
         const std::string& resource, const std::vector<std::string>& ids) {
  auto* p = answer.add_pod_resources();
  p->set_name(pod);
  p->set_namespace_("ml");
  auto* c = p->add_containers();
  c->set_name(container);
  for (int cpu = 0; cpu < 300; ++cpu) c->add_cpu_ids(cpu);
  auto* memory = c->add_memory();
  memory->set_memory_type("memory");
  memory->set_size(1ULL << 40);
  auto* devices = c->add_devices();
  devices->set_resource_name(resource);
  for (const auto& id : ids) devices->add_device_ids(id);
  devices->mutable_topology()->add_nodes()->set_id(1);
}

TEST(PodResources, AreReadAsGeneratedCodeWritesThem) {
  v1::ListPodResourcesResponse answer;
  add(answer, "train-0", "main", "nvidia.com/gpu", {"GPU-a::0", "GPU-a::1"});
  add(answer, "idle", "main", "nvidia.com/gpu", {});
  add(answer, "serve", "model", "nvidia.com/mig-1g.10gb", {"MIG-1"});
  auto* claim = answer.mutable_pod_resources(2)->mutable_containers(0)->add_dynamic_resources();
  claim->set_claim_name("gpu");
  claim->set_claim_namespace("ml");
  auto* device = claim->add_claim_resources();
  device->set_driver_name("gpu.nvidia.com");
  device->set_pool_name("node-1");
  device->set_device_name("gpu-0");
  device->set_share_id("s-1");
  device->add_cdi_devices()->set_name("nvidia.com/gpu=0");

  auto read = decode_list(answer.SerializeAsString());
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_THAT(
      *read,
      ElementsAre(
          Container{{"ml", "train-0", "main"}, {{"nvidia.com/gpu", {"GPU-a::0", "GPU-a::1"}}}, {}},
          Container{{"ml", "serve", "model"},
                    {{"nvidia.com/mig-1g.10gb", {"MIG-1"}}},
                    {{"gpu", "ml", "gpu.nvidia.com", "node-1", "gpu-0", "s-1"}}}));
}

TEST(PodResources, MayBeNone) {
  auto read = decode_list("");
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->empty());
}

TEST(PodResources, ThatAreGarbageAreRefusedWhole) {
  v1::ListPodResourcesResponse answer;
  add(answer, "train-0", "main", "nvidia.com/gpu", {"GPU-a::0"});
  const std::string good = answer.SerializeAsString();
  for (std::size_t size = 1; size < good.size(); ++size) {
    auto read = decode_list(std::string_view(good).substr(0, size));
    if (!read) {
      EXPECT_EQ(read.error().kind, Kind::kCorrupt) << size;
    }
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (char change : {'\x01', '\x80', '\xff'}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ change);
      auto read = decode_list(bad);  // must end, and must not read beyond
      if (read) {
        EXPECT_LE(read->size(), 1U);
      }
    }
  }
  EXPECT_FALSE(decode_list("HTTP/1.1 400 Bad Request\r\n\r\n"));
}

TEST(PodResources, WithNamesThatAreNoneAreRefused) {
  for (const char* name : {"a b", "a\nb", "gr\xc3\xbcn", ""}) {
    v1::ListPodResourcesResponse answer;
    add(answer, name, "main", "nvidia.com/gpu", {"GPU-a::0"});
    auto read = decode_list(answer.SerializeAsString());
    ASSERT_FALSE(read) << name;
    EXPECT_EQ(read.error().kind, Kind::kCorrupt);
  }
}

TEST(PodResources, WithMoreDevicesThanANodeHasAreRefused) {
  v1::ListPodResourcesResponse answer;
  add(answer, "train-0", "main", "nvidia.com/gpu", std::vector<std::string>(kMaxListed + 1, "0"));
  auto read = decode_list(answer.SerializeAsString());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, Kind::kInvalid);
}

}  // namespace
}  // namespace kerf::pods
