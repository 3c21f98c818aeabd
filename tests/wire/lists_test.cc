// ListAndWatch: order, updates only on change, slow readers, orderly end.
#include "tests/wire/client.h"
#include "tests/wire/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::wire {
namespace {

using testing::ElementsAre;

plan::PlanPtr one_plan(const plan::Resource& resource) { return plan_of({resource}); }

std::vector<std::string> ids_of(const kubelet_sim::Resource& resource) {
  std::vector<std::string> ids;
  for (const auto& device : resource.devices) ids.push_back(device.id);
  return ids;
}

TEST(Lists, KeepThePlansOrderHealthAndTopology) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  auto resource = resource_of("example.com/gpu", "gpu", 3);
  resource.devices[0].numa_node = 0;
  resource.devices[1].numa_node = 1;
  resource.devices[1].healthy = false;
  node.apply(one_plan(resource));
  ASSERT_TRUE(node.allocatable(2, kPromised));
  auto seen = node.seen();
  EXPECT_THAT(ids_of(seen), ElementsAre("gpu-0", "gpu-1", "gpu-2"));
  EXPECT_THAT(seen.devices[0].numa_nodes, ElementsAre(0));
  EXPECT_THAT(seen.devices[1].numa_nodes, ElementsAre(1));
  EXPECT_TRUE(seen.devices[2].numa_nodes.empty());
  EXPECT_FALSE(seen.devices[1].healthy);
  EXPECT_EQ(node.first().unhealthy, 1u);
}

TEST(Lists, AreSentOnlyWhenTheyChange) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  auto resource = resource_of("example.com/gpu", "gpu", 3);
  node.apply(one_plan(resource));
  ASSERT_TRUE(node.allocatable(3, kPromised));
  for (int i = 0; i < 10; ++i) node.apply(one_plan(resource));
  resource.devices[2].healthy = false;
  node.apply(one_plan(resource));
  ASSERT_TRUE(node.allocatable(2, kPromised));
  EXPECT_EQ(node.seen().updates, 2);
  EXPECT_EQ(node.seen().registrations, 1);
}

TEST(Lists, FollowTheNumberOfReplicas) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  for (std::size_t count : {4u, 10u, 1600u, 2u}) {
    node.apply(one_plan(resource_of("example.com/gpu", "gpu", count)));
    ASSERT_TRUE(node.allocatable(count, kPromised)) << count;
  }
  EXPECT_EQ(node.seen().registrations, 1);
}

// Reads a stream on a thread of its own and remembers the size of the last list.
class Reader {
 public:
  explicit Reader(const std::string& socket) : client_(socket) {
    thread_ = std::thread([this] {
      auto stream = client_.stub->ListAndWatch(&context_, {});
      v1beta1::ListAndWatchResponse list;
      while (stream->Read(&list)) {
        last = list.devices_size();
        ++updates;
      }
      status = stream->Finish().error_code();
      ended = true;
    });
  }
  ~Reader() {
    context_.TryCancel();
    thread_.join();
  }

  std::atomic<int> last = -1;
  std::atomic<int> updates = 0;
  std::atomic<int> status = -1;
  std::atomic<bool> ended = false;

 private:
  Client client_;
  grpc::ClientContext context_;
  std::thread thread_;
};

// Opens a stream and never reads it.
struct DeafReader {
  explicit DeafReader(const std::string& socket)
      : client(socket), stream(client.stub->ListAndWatch(&context, {})) {}
  ~DeafReader() {
    context.TryCancel();
    stream->Finish();
  }
  Client client;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1beta1::ListAndWatchResponse>> stream;
};

TEST(Lists, ADeafStreamNeitherHoldsUpOthersNorCollectsUpdates) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan(resource_of("example.com/gpu", "gpu", 200)));
  ASSERT_TRUE(node.allocatable(200, kPromised));
  DeafReader deaf(node.socket);
  Reader reader(node.socket);
  ASSERT_TRUE(eventually(kEventually, [&] { return node.first().streams == 3; }));
  const int rounds = 10'000 / kSlow;
  std::vector<plan::PlanPtr> plans = {one_plan(resource_of("example.com/gpu", "gpu", 200)),
                                      one_plan(resource_of("example.com/gpu", "gpu", 199))};
  for (int i = 0; i < 200; ++i) node.apply(plans[static_cast<std::size_t>(i % 2)]);
  const long before = resident_kib();
  for (int i = 0; i <= rounds; ++i) node.apply(plans[static_cast<std::size_t>((i + 1) % 2)]);
  node.apply(one_plan(resource_of("example.com/gpu", "gpu", 7)));
  EXPECT_TRUE(eventually(kEventually, [&] { return reader.last == 7; }));
  EXPECT_TRUE(node.allocatable(7, kEventually));
  // Kept whole, the updates would be 10 000 times 4 kB. A sanitizer's own memory says nothing.
  if (kSlow == 1) {
    EXPECT_LT(resident_kib() - before, 8000);
  }
}

TEST(Lists, EndInGoodOrderWhenTheServiceStops) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(plan_of(
      {resource_of("example.com/gpu", "gpu", 4), resource_of("example.com/mig", "mig", 4)}));
  ASSERT_TRUE(node.allocatable(4, kPromised));
  Reader reader(node.socket);
  ASSERT_TRUE(eventually(kEventually, [&] { return reader.last == 4; }));
  node.loop.run([&] { node.service->stop(); });
  EXPECT_TRUE(eventually(kPromised, [&] { return reader.ended.load(); }));
  EXPECT_EQ(reader.status, grpc::StatusCode::OK);
  EXPECT_FALSE(std::filesystem::exists(node.socket));
  EXPECT_FALSE(std::filesystem::exists(node.directory + "/nvidia-mig.sock"));
  node.loop.run([&] { node.service->stop(); });  // once more does nothing
}

TEST(Lists, ADeafStreamDoesNotHoldUpTheEnd) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan(resource_of("example.com/gpu", "gpu", 50'000)));
  DeafReader deaf(node.socket);
  ASSERT_TRUE(eventually(kEventually, [&] { return node.first().streams >= 1; }));
  auto stopped =
      std::async(std::launch::async, [&] { node.loop.run([&] { node.service->stop(); }); });
  EXPECT_EQ(stopped.wait_for(kPromised), std::future_status::ready);
}

TEST(Lists, GoOnWhenOurSocketIsRemoved) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan(resource_of("example.com/gpu", "gpu", 4)));
  ASSERT_TRUE(node.allocatable(4, kPromised));
  std::filesystem::remove(node.socket);
  EXPECT_TRUE(eventually(kPromised, [&] {
    return std::filesystem::is_socket(node.socket) && node.seen().registrations == 2;
  }));
  EXPECT_TRUE(node.allocatable(4, kPromised));
}

}  // namespace
}  // namespace kerf::wire
