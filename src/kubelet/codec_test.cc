// The hand-written codec against generated protobuf code, in both directions.
#include "kubelet/codec.h"

#include <random>

#include "proto/deviceplugin.pb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::kubelet {
namespace {

using testing::ElementsAre;

std::string random_text(std::mt19937& random, std::size_t longest) {
  std::string text(random() % (longest + 1), ' ');
  for (char& c : text) c = static_cast<char>('!' + random() % 90);
  return text;
}

TEST(Codec, ReadsAllocateRequestsAsProtobufWritesThem) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    v1beta1::AllocateRequest request;
    for (auto c = random() % 4; c > 0; --c) {
      auto* container = request.add_container_requests();
      for (auto i = random() % 6; i > 0; --i) {
        container->add_devices_ids(random_text(random, 300));
      }
    }
    const std::string bytes = request.SerializeAsString();
    auto decoded = decode_allocate(bytes);
    ASSERT_TRUE(decoded);
    ASSERT_EQ(decoded->size(), static_cast<std::size_t>(request.container_requests_size()));
    for (int c = 0; c < request.container_requests_size(); ++c) {
      const auto& expected = request.container_requests(c).devices_ids();
      EXPECT_EQ((*decoded)[static_cast<std::size_t>(c)], Ids(expected.begin(), expected.end()));
    }
  }
}

TEST(Codec, ReadsPreferredAllocationRequestsAsProtobufWritesThem) {
  for (std::int32_t size : {0, 1, 2, 127, 128, 2147483647, -1, -2147483647}) {
    v1beta1::PreferredAllocationRequest request;
    auto* one = request.add_container_requests();
    one->add_available_deviceids("GPU-a::0");
    one->add_available_deviceids("GPU-a::1");
    one->add_must_include_deviceids("GPU-a::1");
    one->set_allocation_size(size);
    const std::string bytes = request.SerializeAsString();
    auto decoded = decode_preferred(bytes);
    ASSERT_TRUE(decoded);
    ASSERT_EQ(decoded->size(), 1u);
    EXPECT_THAT(decoded->front().available, ElementsAre("GPU-a::0", "GPU-a::1"));
    EXPECT_THAT(decoded->front().must_include, ElementsAre("GPU-a::1"));
    EXPECT_EQ(decoded->front().size, size);
  }
}

TEST(Codec, SkipsFieldsOfNewerKubelets) {
  // Fields 9 (varint), 10 (8 bytes), 11 (bytes) and 12 (4 bytes) around field 1.
  const std::string container = std::string("\x48\x05", 2) + std::string("\x0a\x01", 2) + "x";
  const std::string bytes = std::string("\x51", 1) + "12345678" + std::string("\x5a\x02", 2) +
                            "ab" + std::string("\x0a\x05", 2) + container + std::string("\x65", 1) +
                            "1234";
  auto decoded = decode_allocate(bytes);
  ASSERT_TRUE(decoded);
  ASSERT_EQ(decoded->size(), 1u);
  EXPECT_THAT(decoded->front(), ElementsAre("x"));
}

TEST(Codec, RefusesWhatIsNotAMessage) {
  const std::vector<std::string> bad = {
      std::string("\x0a", 1),              // length missing
      std::string("\x0a\x05", 2) + "abc",  // shorter than its length
      std::string("\x00\x00", 2),          // field number 0
      std::string("\x0b\x0c", 2),          // a group
      std::string("\x08\x01", 2),          // field 1 as a number
      std::string("\x0a\x02\x08\x01", 4),  // a device id as a number
      std::string(11, '\xff'),             // a number without end
      std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11) + "x",  // length 2^64 - 1
      "not protobuf at all",
  };
  for (const std::string& bytes : bad) {
    auto decoded = decode_allocate(bytes);
    ASSERT_FALSE(decoded) << testing::PrintToString(bytes);
    EXPECT_EQ(decoded.error().kind, Kind::kCorrupt);
    EXPECT_FALSE(decode_preferred(bytes));
  }
}

TEST(Codec, RefusesMoreDevicesOrContainersThanAnyKubeletSends) {
  std::string containers;
  for (std::size_t i = 0; i <= kMaxContainers; ++i) containers += std::string("\x0a\x00", 2);
  EXPECT_EQ(decode_allocate(containers).error().kind, Kind::kInvalid);
  v1beta1::AllocateRequest request;
  auto* one = request.add_container_requests();
  for (std::size_t i = 0; i <= kMaxIds; ++i) one->add_devices_ids("x");
  EXPECT_EQ(decode_allocate(request.SerializeAsString()).error().kind, Kind::kInvalid);
}

TEST(Codec, WritesListsThatProtobufReads) {
  std::vector<plan::Device> devices(3);
  devices[0].id = "GPU-a::0";
  devices[0].numa_node = 0;
  devices[1].id = "GPU-a::1";
  devices[1].numa_node = 300;
  devices[1].healthy = false;
  devices[2].id = "GPU-b";
  v1beta1::ListAndWatchResponse expected;
  auto* a = expected.add_devices();
  a->set_id("GPU-a::0");
  a->set_health("Healthy");
  a->mutable_topology()->add_nodes();
  auto* b = expected.add_devices();
  b->set_id("GPU-a::1");
  b->set_health("Unhealthy");
  b->mutable_topology()->add_nodes()->set_id(300);
  auto* c = expected.add_devices();
  c->set_id("GPU-b");
  c->set_health("Healthy");
  EXPECT_EQ(encode_list(devices), expected.SerializeAsString());
}

TEST(Codec, WritesAllocateResponsesThatProtobufReads) {
  std::vector<edits::Edits> edits(2);
  edits[0].envs = {{"A", "1"}, {"B", ""}, {"", "x"}, {"LONG", std::string(500, 'v')}};
  edits[0].mounts = {{"/dev/null", "/run/x", false}, {"/a", "/b", true}};
  edits[0].devices = {{"/host/dev/nvidia0", "/dev/nvidia0", "rw"}};
  edits[0].annotations = {{"cdi.k8s.io/x", "v"}};
  edits[0].cdi_devices = {"nvidia.com/gpu=0", "nvidia.com/gpu=1"};
  v1beta1::AllocateResponse read;
  ASSERT_TRUE(read.ParseFromString(encode_allocate(edits)));
  ASSERT_EQ(read.container_responses_size(), 2);
  const auto& one = read.container_responses(0);
  EXPECT_EQ((std::map<std::string, std::string>(one.envs().begin(), one.envs().end())),
            edits[0].envs);
  ASSERT_EQ(one.mounts_size(), 2);
  EXPECT_EQ(one.mounts(0).host_path(), "/dev/null");
  EXPECT_EQ(one.mounts(0).container_path(), "/run/x");
  EXPECT_FALSE(one.mounts(0).read_only());
  EXPECT_TRUE(one.mounts(1).read_only());
  ASSERT_EQ(one.devices_size(), 1);
  EXPECT_EQ(one.devices(0).host_path(), "/host/dev/nvidia0");
  EXPECT_EQ(one.devices(0).container_path(), "/dev/nvidia0");
  EXPECT_EQ(one.devices(0).permissions(), "rw");
  EXPECT_EQ(one.annotations().at("cdi.k8s.io/x"), "v");
  ASSERT_EQ(one.cdi_devices_size(), 2);
  EXPECT_EQ(one.cdi_devices(1).name(), "nvidia.com/gpu=1");
  EXPECT_EQ(read.container_responses(1).ByteSizeLong(), 0u);
}

TEST(Codec, WritesTheSmallMessagesLikeProtobuf) {
  v1beta1::DevicePluginOptions options;
  EXPECT_EQ(encode_options(false), options.SerializeAsString());
  options.set_get_preferred_allocation_available(true);
  EXPECT_EQ(encode_options(true), options.SerializeAsString());

  v1beta1::RegisterRequest registration;
  registration.set_version("v1beta1");
  registration.set_endpoint("nvidia-gpu.sock");
  registration.set_resource_name("nvidia.com/gpu");
  *registration.mutable_options() = options;
  EXPECT_EQ(encode_register("nvidia-gpu.sock", "nvidia.com/gpu", true),
            registration.SerializeAsString());

  v1beta1::PreferredAllocationResponse preferred;
  auto* one = preferred.add_container_responses();
  one->add_deviceids("GPU-a::0");
  one->add_deviceids(std::string(200, 'x'));
  preferred.add_container_responses();
  const std::vector<Ids> ids = {{"GPU-a::0", preferred.container_responses(0).deviceids(1)}, {}};
  EXPECT_EQ(encode_preferred(ids), preferred.SerializeAsString());
}

}  // namespace
}  // namespace kerf::kubelet
