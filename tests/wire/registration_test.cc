// Registration and re-registration against a kubelet that restarts, vanishes, hangs, refuses or
// talks garbage.
#include <list>
#include <mutex>

#include "proto/deviceplugin.grpc.pb.h"
#include "tests/wire/node.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

namespace kerf::wire {
namespace {

namespace fs = std::filesystem;

plan::PlanPtr one_plan(std::size_t devices = 4) {
  return plan_of({resource_of("example.com/gpu", "gpu", devices)});
}

TEST(Registration, MakesTheDevicesAllocatable) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan());
  ASSERT_TRUE(node.allocatable(4, kPromised));
  ASSERT_TRUE(eventually(kPromised, [&] { return node.status().ok(); }));
  auto status = node.first();
  EXPECT_EQ(status.name, "example.com/gpu");
  EXPECT_EQ(status.socket, node.socket);
  EXPECT_TRUE(status.bound);
  EXPECT_TRUE(status.registered);
  EXPECT_GT(status.registered_since_ms, 0);
  EXPECT_FALSE(status.last_error);
  EXPECT_EQ(node.seen().endpoint, "nvidia-gpu.sock");
}

TEST(Registration, HappensAgainWithinASecondOfAKubeletRestart) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan());
  ASSERT_TRUE(node.allocatable(4, kPromised));
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(node.kubelet.restart());
    ASSERT_TRUE(node.allocatable(4, kPromised)) << "round " << round;
  }
  EXPECT_TRUE(fs::is_socket(node.socket));
}

// A kubelet takes the end of the first of two streams for the end of the resource.
TEST(Registration, HappensOnceForASocketWhoseRightsChange) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan());
  ASSERT_TRUE(node.allocatable(4, kPromised));
  ASSERT_TRUE(eventually(kPromised, [&] { return node.status().ok(); }));
  for (fs::perms rights : {fs::perms::owner_all, fs::perms::all}) {
    fs::permissions(node.directory + "/kubelet.sock", rights);
  }
  // Many turns of the loop, then a call through the plugin: by then the changes have been noticed.
  for (int turn = 0; turn < 100; ++turn) node.status();
  node.kubelet.create_pod("a", "example.com/gpu", 1);
  EXPECT_EQ(node.service->stats().at("example.com/gpu")->registrations.load(), 1u);
}

TEST(Registration, WaitsForAKubeletThatComesLate) {
  Node node;  // not even the directory exists
  node.apply(one_plan());
  ASSERT_TRUE(eventually(kEventually, [&] { return node.first().last_error.has_value(); }));
  EXPECT_FALSE(node.status().ok());
  ASSERT_TRUE(node.kubelet.start());
  EXPECT_TRUE(node.allocatable(4, kPromised));
}

TEST(Registration, SurvivesTheDirectoryBeingRemovedAndMadeAgain) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan());
  ASSERT_TRUE(node.allocatable(4, kPromised));
  node.kubelet.stop();
  // We bind again as soon as the socket is gone, so the directory may need several tries.
  ASSERT_TRUE(eventually(kEventually, [&] {
    std::error_code failed;
    fs::remove_all(node.directory, failed);
    return !failed && !fs::exists(node.directory);
  }));
  ASSERT_TRUE(eventually(kEventually, [&] { return !node.first().bound; }));
  ASSERT_TRUE(node.kubelet.start());
  EXPECT_TRUE(node.allocatable(4, kPromised));
}

TEST(Registration, ComesBackWhenTheKubeletDropsUsWithoutRestarting) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan());
  ASSERT_TRUE(node.allocatable(4, kPromised));
  ASSERT_TRUE(eventually(kPromised, [&] { return node.first().streams == 1; }));
  ASSERT_TRUE(node.kubelet.drop("example.com/gpu"));
  EXPECT_TRUE(node.allocatable(4, 2 * kPromised));
}

// A kubelet that opens a stream and drops it before it answers the first Register; it keeps those
// of later ones.
class HastyKubelet : public v1beta1::Registration::Service {
 public:
  explicit HastyKubelet(std::string directory) : directory_(std::move(directory)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + directory_ + "/kubelet.sock",
                             grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~HastyKubelet() override {
    {
      std::lock_guard lock(mutex_);
      for (auto& each : streams_) each.context.TryCancel();
    }
    server_->Shutdown(std::chrono::system_clock::now());
  }
  int registrations() const { return registrations_; }
  bool holds_a_stream() const { return holds_; }

 private:
  grpc::Status Register(grpc::ServerContext*, const v1beta1::RegisterRequest* request,
                        v1beta1::Empty*) override {
    std::lock_guard lock(mutex_);
    Stream& now = streams_.emplace_back();
    now.stub = v1beta1::DevicePlugin::NewStub(grpc::CreateChannel(
        "unix:" + directory_ + "/" + request->endpoint(), grpc::InsecureChannelCredentials()));
    now.reader = now.stub->ListAndWatch(&now.context, {});
    v1beta1::ListAndWatchResponse list;
    const bool listed = now.reader->Read(&list);
    if (++registrations_ == 1) {
      now.context.TryCancel();
      now.reader->Finish();
    } else {
      holds_ = listed;
    }
    return grpc::Status::OK;
  }

  struct Stream {
    grpc::ClientContext context;
    std::unique_ptr<v1beta1::DevicePlugin::Stub> stub;
    std::unique_ptr<grpc::ClientReader<v1beta1::ListAndWatchResponse>> reader;
  };

  std::string directory_;
  std::mutex mutex_;  // registrations come again while one is slow
  std::list<Stream> streams_;
  std::atomic<int> registrations_ = 0;
  std::atomic<bool> holds_ = false;
  std::unique_ptr<grpc::Server> server_;
};

TEST(Registration, ComesBackWhenTheStreamWasGoneBeforeTheAnswer) {
  Node node;
  fs::create_directories(node.directory);
  HastyKubelet hasty(node.directory);
  node.apply(one_plan());
  EXPECT_TRUE(eventually(2 * kPromised, [&] { return hasty.holds_a_stream(); }))
      << hasty.registrations() << " registrations";
  EXPECT_TRUE(eventually(kPromised, [&] { return node.first().registered; }));
}

struct Trouble {
  kubelet_sim::Mode mode;
  Kind kind;
  const char* text;
};

class TroubledKubelet : public testing::TestWithParam<Trouble> {};

TEST_P(TroubledKubelet, IsReportedAndRegisteredWithWhenItRecovers) {
  const Trouble& trouble = GetParam();
  Node node;
  node.kubelet.set_mode(trouble.mode);
  node.apply(one_plan());
  ASSERT_TRUE(eventually(kEventually, [&] { return node.first().last_error.has_value(); }));
  auto status = node.first();
  EXPECT_TRUE(status.bound);
  EXPECT_FALSE(status.registered);
  EXPECT_EQ(status.last_error->kind, trouble.kind) << status.last_error->text();
  EXPECT_NE(status.last_error->text().find(trouble.text), std::string::npos)
      << status.last_error->text();
  EXPECT_NE(status.last_error->text().find("kubelet.sock"), std::string::npos);
  EXPECT_GT(node.service->stats().at("example.com/gpu")->registration_failures.load(), 0u);
  node.kubelet.set_mode(kubelet_sim::Mode::kNormal);
  EXPECT_TRUE(node.allocatable(4, kPromised));
}

INSTANTIATE_TEST_SUITE_P(
    Modes, TroubledKubelet,
    testing::Values(Trouble{kubelet_sim::Mode::kHang, Kind::kTimeout, "did not answer in time"},
                    Trouble{kubelet_sim::Mode::kGarbage, Kind::kGone, "does not speak gRPC"},
                    Trouble{kubelet_sim::Mode::kReject, Kind::kUnsupported,
                            "registration rejected"}),
    [](const auto& test) {
      return std::string(test.param.mode == kubelet_sim::Mode::kHang      ? "Hangs"
                         : test.param.mode == kubelet_sim::Mode::kGarbage ? "TalksGarbage"
                                                                          : "Refuses");
    });

TEST(Registration, NoticesThatTheKubeletIsGone) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  node.apply(one_plan());
  ASSERT_TRUE(node.allocatable(4, kPromised));
  node.kubelet.stop();
  fs::remove(node.directory + "/kubelet.sock");
  EXPECT_TRUE(eventually(kEventually, [&] { return !node.status().ok(); }));
}

TEST(Registration, IsLeftOutWithoutAKubeletSocket) {
  TempDirectory own;
  Node node([&](auto& options) {
    options.kubelet_socket.clear();
    options.socket_directory = own.path();
  });
  node.apply(one_plan());
  EXPECT_TRUE(node.status().ok());
  EXPECT_TRUE(node.first().bound);
  EXPECT_FALSE(node.first().registered);
  EXPECT_TRUE(fs::is_socket(own.path() + "/nvidia-gpu.sock"));
}

TEST(Registration, IsDoneOnlyForResourcesThatAreNew) {
  Node node;
  ASSERT_TRUE(node.kubelet.start());
  auto a = resource_of("example.com/a", "a", 2);
  auto b = resource_of("example.com/b", "b", 3);
  node.apply(plan_of({a}));
  ASSERT_TRUE(node.allocatable(2, kPromised, "example.com/a"));
  node.apply(plan_of({a, b}));
  ASSERT_TRUE(node.allocatable(3, kPromised, "example.com/b"));
  EXPECT_EQ(node.seen("example.com/a").registrations, 1);
  EXPECT_EQ(node.seen("example.com/a").updates, 1);
  node.apply(plan_of({b}));
  EXPECT_TRUE(
      node.kubelet.wait_until(kPromised, [&] { return !node.seen("example.com/a").connected; }));
  EXPECT_FALSE(fs::exists(node.directory + "/nvidia-a.sock"));
  EXPECT_EQ(node.seen("example.com/b").registrations, 1);
  EXPECT_EQ(node.status().resources.size(), 1u);
}

}  // namespace
}  // namespace kerf::wire
