// Against a real server on a unix socket, because what matters is what happens when it goes wrong.
#include "pods/follower.h"

#include <filesystem>

#include "kubelet/listener.h"
#include "kubelet/transport.h"
#include "pods/codec.h"
#include "proto/podresources.pb.h"

#include <asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kerf::pods {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

std::string list_with(const std::vector<std::string>& pods) {
  v1::ListPodResourcesResponse answer;
  for (const std::string& name : pods) {
    auto* pod = answer.add_pod_resources();
    pod->set_name(name);
    pod->set_namespace_("ml");
    auto* container = pod->add_containers();
    container->set_name("main");
    auto* devices = container->add_devices();
    devices->set_resource_name("nvidia.com/gpu");
    devices->add_device_ids("GPU-" + name);
  }
  return answer.SerializeAsString();
}

class Following : public testing::Test {
 protected:
  Following() {
    directory_ = fs::path(testing::TempDir()) /
                 ("follow-" + std::to_string(getpid()) + "-" +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(directory_);
    socket_ = directory_ / "k.sock";
  }
  ~Following() override {
    follower_.reset();
    stop_kubelet();
    fs::remove_all(directory_);
  }

  void start_kubelet(std::string answer) {
    auto server = kubelet::Server::start(
        {{kList, [answer = std::move(answer)](kubelet::Caller&, std::string_view) {
            return tl::expected<std::string, kubelet::Failure>(answer);
          }}});
    ASSERT_TRUE(server);
    server_ = std::move(*server);
    auto listener = kubelet::Listener::open(
        loop_, socket_, 0600, [this](Fd connection) { server_->adopt(std::move(connection)); });
    ASSERT_TRUE(listener) << listener.error().text();
    listener_ = std::move(*listener);
  }
  void stop_kubelet() {
    listener_.reset();
    if (server_) server_->stop(milliseconds(0));
    server_.reset();
    fs::remove(socket_);
  }
  void follow(milliseconds deadline = milliseconds(5'000)) {
    FollowerOptions options;
    options.socket = socket_;
    options.interval = milliseconds(20);
    options.last_pause = milliseconds(40);
    options.deadline = deadline;
    follower_ = std::make_unique<Follower>(loop_, options, nullptr, [this] { ++changes_; });
  }
  bool eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop_.restart();
      loop_.run_for(milliseconds(5));
    }
    return true;
  }
  State state() const { return follower_->current()->state; }
  std::size_t containers() const { return follower_->current()->containers.size(); }

  asio::io_context loop_{1};
  fs::path directory_;
  fs::path socket_;
  std::unique_ptr<kubelet::Server> server_;
  std::unique_ptr<kubelet::Listener> listener_;
  std::unique_ptr<Follower> follower_;
  std::vector<Fd> held_;  // connections nobody reads
  int changes_ = 0;
};

TEST_F(Following, TellsWhatTheKubeletTells) {
  start_kubelet(list_with({"train-0", "train-1"}));
  follow();
  ASSERT_TRUE(eventually([&] { return state() == State::kCurrent; }));
  ASSERT_EQ(containers(), 2U);
  EXPECT_EQ(follower_->current()->containers[1].owner, (Owner{"ml", "train-1", "main"}));
  EXPECT_GT(follower_->current()->asked_ms, 0);
  EXPECT_EQ(changes_, 1) << "the same answer again is no change";
}

TEST_F(Following, KeepsWhatItKnowsWhileTheKubeletIsRestarted) {
  start_kubelet(list_with({"train-0"}));
  follow();
  ASSERT_TRUE(eventually([&] { return state() == State::kCurrent; }));
  stop_kubelet();
  ASSERT_TRUE(eventually([&] { return state() == State::kStale; }));
  EXPECT_EQ(containers(), 1U);
  EXPECT_THAT(follower_->current()->detail, testing::HasSubstr("k.sock"));
  start_kubelet(list_with({"train-0", "train-1"}));
  ASSERT_TRUE(eventually([&] { return state() == State::kCurrent; }));
  EXPECT_EQ(containers(), 2U);
  EXPECT_EQ(follower_->current()->detail, "");
}

TEST_F(Following, WaitsForASocketThatIsNotThere) {
  follow();
  ASSERT_TRUE(eventually([&] { return state() == State::kAbsent; }));
  EXPECT_THAT(follower_->current()->detail, testing::HasSubstr("mount its directory"));
  start_kubelet(list_with({"train-0"}));
  ASSERT_TRUE(eventually([&] { return state() == State::kCurrent; }));
}

TEST_F(Following, BelievesNoGarbage) {
  start_kubelet(list_with({"train-0"}));
  follow();
  ASSERT_TRUE(eventually([&] { return state() == State::kCurrent; }));
  stop_kubelet();
  start_kubelet("\x0a\xff\xff\xff garbage");
  ASSERT_TRUE(eventually([&] {
    return state() == State::kStale &&
           follower_->current()->detail.find("not a valid") != std::string::npos;
  })) << follower_->current()->detail;
  EXPECT_EQ(containers(), 1U);
}

TEST_F(Following, RefusesAnAnswerThatIsTooLargeAndTakesALargeOne) {
  // What each container adds beside its devices is not kept.
  std::string large = list_with({"train-0"});
  large += std::string("\x7a\x80\x80\x80\x05", 5) + std::string(10 << 20, 'x');
  start_kubelet(large);  // field 15, 10 MiB that nobody knows
  follow(milliseconds(20'000));
  ASSERT_TRUE(eventually([&] { return state() == State::kCurrent; }));
  stop_kubelet();
  start_kubelet(std::string(20 << 20, 'x'));
  ASSERT_TRUE(eventually([&] { return state() == State::kStale; }));
  EXPECT_EQ(containers(), 1U);
}

TEST_F(Following, GivesUpOnAKubeletThatDoesNotAnswer) {
  auto listener = kubelet::Listener::open(
      loop_, socket_, 0600, [this](Fd connection) { held_.push_back(std::move(connection)); });
  ASSERT_TRUE(listener);
  listener_ = std::move(*listener);
  follow(milliseconds(50));
  ASSERT_TRUE(eventually([&] { return state() == State::kAbsent; }));
  EXPECT_THAT(follower_->current()->detail, testing::HasSubstr("in time"));
}

TEST_F(Following, EndsInTheMiddleOfAQuestion) {
  start_kubelet(list_with({"train-0"}));
  follow();
  loop_.run_for(milliseconds(1));
  const int before = changes_;
  follower_.reset();
  loop_.restart();
  loop_.run_for(milliseconds(20));
  EXPECT_EQ(changes_, before);
}

}  // namespace
}  // namespace kerf::pods
