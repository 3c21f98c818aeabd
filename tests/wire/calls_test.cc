// The plugin's methods as a kubelet calls them, and as nobody should.
#include <mutex>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/files.h"
#include "tests/wire/client.h"
#include "tests/wire/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::wire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Served : Node {
  explicit Served(std::size_t devices = 8, kubelet::Observer observer = {})
      : Node({}, std::move(observer)) {
    kubelet.start();
    apply(plan_of({resource_of("example.com/gpu", "gpu", devices)}));
  }
};

TEST(Calls, OptionsSayThatPreferencesAreAnswered) {
  Served node;
  Client client(node.socket);
  grpc::ClientContext context;
  v1beta1::DevicePluginOptions options;
  ASSERT_TRUE(client.stub->GetDevicePluginOptions(&context, {}, &options).ok());
  EXPECT_TRUE(options.get_preferred_allocation_available());
  EXPECT_FALSE(options.pre_start_required());
}

TEST(Calls, AllocateAnswersEveryContainerInOrder) {
  Served node;
  Client client(node.socket);
  v1beta1::AllocateResponse response;
  ASSERT_TRUE(client.allocate({{"gpu-1", "gpu-0"}, {}, {"gpu-7"}}, response).ok());
  ASSERT_EQ(response.container_responses_size(), 3);
  EXPECT_EQ(response.container_responses(0).envs().at("DEVICES"), "gpu-1,gpu-0");
  EXPECT_EQ(response.container_responses(1).envs().at("DEVICES"), "");
  EXPECT_EQ(response.container_responses(2).envs().at("DEVICES"), "gpu-7");
}

TEST(Calls, AnEmptyRequestGetsAnEmptyResponse) {
  Served node;
  Client client(node.socket);
  v1beta1::AllocateResponse response;
  ASSERT_TRUE(client.allocate({}, response).ok());
  EXPECT_EQ(response.container_responses_size(), 0);
}

TEST(Calls, ErrorsGoOutAsUnknownWithTheirTextWordForWord) {
  Served node;
  Client client(node.socket);
  v1beta1::AllocateResponse response;
  grpc::Status status = client.allocate({{"gpu-0"}, {"bad"}}, response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNKNOWN);
  EXPECT_EQ(status.error_message(), "unknown device: bad");
  EXPECT_EQ(node.service->stats().at("example.com/gpu")->allocate_errors.load(), 1u);
}

TEST(Calls, PreferredAllocationAnswersEveryContainer) {
  Served node;
  Client client(node.socket);
  v1beta1::PreferredAllocationRequest request;
  for (int size : {1, 2}) {
    auto* one = request.add_container_requests();
    for (const char* id : {"gpu-0", "gpu-1", "gpu-2"}) one->add_available_deviceids(id);
    one->set_allocation_size(size);
  }
  grpc::ClientContext context;
  v1beta1::PreferredAllocationResponse response;
  ASSERT_TRUE(client.stub->GetPreferredAllocation(&context, request, &response).ok());
  ASSERT_EQ(response.container_responses_size(), 2);
  EXPECT_THAT(response.container_responses(0).deviceids(), ElementsAre("gpu-2"));
  EXPECT_THAT(response.container_responses(1).deviceids(), ElementsAre("gpu-1", "gpu-2"));
}

TEST(Calls, PreStartContainerIsAcknowledged) {
  Served node;
  Client client(node.socket);
  v1beta1::PreStartContainerRequest request;
  request.add_devices_ids("gpu-0");
  grpc::ClientContext context;
  v1beta1::PreStartContainerResponse response;
  EXPECT_TRUE(client.stub->PreStartContainer(&context, request, &response).ok());
}

TEST(Calls, AreSeenByTheObserverWithTheCallersProcess) {
  std::mutex mutex;
  std::vector<std::string> seen;
  pid_t pid = 0;
  std::size_t free = 0;
  kubelet::Observer observer;
  observer.allocated = [&](const kubelet::Observer::Allocation& allocation) {
    std::lock_guard lock(mutex);
    pid = allocation.peer_pid;
    for (std::string_view id : allocation.ids) seen.emplace_back(id);
    if (allocation.error) seen.push_back("error: " + allocation.error->text());
  };
  observer.available = [&](std::string_view, std::span<const std::string_view> available) {
    std::lock_guard lock(mutex);
    free = available.size();
  };
  Served node(8, observer);
  Client client(node.socket);
  v1beta1::AllocateResponse response;
  client.allocate({{"gpu-0"}, {"gpu-1", "gpu-2"}}, response);
  client.allocate({{"bad"}}, response);
  ASSERT_TRUE(eventually(kEventually, [&] {
    std::lock_guard lock(mutex);
    return seen.size() == 5;
  }));
  EXPECT_THAT(seen, ElementsAre("gpu-0", "gpu-1", "gpu-2", "bad", "error: unknown device: bad"));
  EXPECT_EQ(pid, getpid());
}

TEST(Calls, PodsAreAdmittedThroughPreferenceAndAllocate) {
  Served node;
  ASSERT_TRUE(node.allocatable(8, kPromised));
  auto pod = node.kubelet.create_pod("a", "example.com/gpu", 2);
  EXPECT_EQ(pod.phase, kubelet_sim::Phase::kRunning) << pod.reason;
  EXPECT_EQ(pod.envs.at("DEVICES"), "gpu-6,gpu-7");
  EXPECT_EQ(node.kubelet.create_pod("b", "example.com/gpu", 7).phase, kubelet_sim::Phase::kPending);
  node.kubelet.delete_pod("a");
  EXPECT_TRUE(node.kubelet.wait_until(kEventually, [&] {
    for (const auto& each : node.kubelet.pods()) {
      if (each.name == "b") return each.phase == kubelet_sim::Phase::kRunning;
    }
    return false;
  }));
}

TEST(HostileCalls, GarbageIsRefusedAndTheServerLives) {
  Served node;
  Client client(node.socket);
  const std::string bad(
      "\x0a\x05"
      "abc",
      5);
  for (const char* method : {"Allocate", "GetPreferredAllocation", "PreStartContainer"}) {
    grpc::Status status = client.raw(std::string("/v1beta1.DevicePlugin/") + method, bad);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("is not a valid"));
  }
  std::string many;
  for (int i = 0; i < 5000; ++i) many += std::string("\x0a\x00", 2);
  EXPECT_EQ(client.raw("/v1beta1.DevicePlugin/Allocate", many).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(client.raw("/v1beta1.DevicePlugin/Allocate", std::string(5 << 20, 'x')).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(client.raw("/v1beta1.DevicePlugin/Format", "").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  v1beta1::AllocateResponse response;
  EXPECT_TRUE(client.allocate({{"gpu-0"}}, response).ok());
}

TEST(HostileCalls, ConnectionsThatTalkNonsenseOrNothingHarmNobody) {
  Served node;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, node.socket.c_str(), sizeof address.sun_path - 1);
  std::vector<Fd> connections;
  for (int i = 0; i < 20; ++i) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    if (i % 2 == 0) {
      const std::string nonsense(100 * static_cast<std::size_t>(i + 1), static_cast<char>(i));
      (void)!::send(fd.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL);
    }
    connections.push_back(std::move(fd));
  }
  Client client(node.socket);
  v1beta1::AllocateResponse response;
  EXPECT_TRUE(client.allocate({{"gpu-0"}}, response).ok());
}

TEST(Growth, ManyAllocationsLeaveMemoryWhereItWas) {
  Served node;
  constexpr int kCallers = 4;
  const auto run = [&](int calls) {
    std::vector<std::thread> callers;
    std::atomic<int> failed = 0;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([&] {
        Client client(node.socket);
        for (int done = 0; done < calls / kCallers; ++done) {
          v1beta1::AllocateResponse response;
          if (!client.allocate({{"gpu-0", "gpu-1"}}, response).ok()) ++failed;
        }
      });
    }
    for (auto& caller : callers) caller.join();
    return failed.load();
  };
  EXPECT_EQ(run(10'000 / kSlow), 0);
  const long before = resident_kib();
  EXPECT_EQ(run(100'000 / kSlow), 0);
  if (kSlow == 1) {
    EXPECT_LT(resident_kib() - before, 3000);
  }
}

}  // namespace
}  // namespace kerf::wire
