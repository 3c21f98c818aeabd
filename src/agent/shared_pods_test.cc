// Against a real server on a unix socket that counts how often it is asked.
#include "agent/shared_pods.h"

#include <filesystem>

#include "kubelet/listener.h"
#include "kubelet/transport.h"
#include "pods/codec.h"

#include <asio/io_context.hpp>
#include <gtest/gtest.h>

namespace kerf::agent {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// A pod "p" in "ns" whose container "c" holds the device "d" of "r".
constexpr std::string_view kOnePod =
    "\x0a\x14\x0a\x01p\x12\x02ns\x1a\x0b\x0a\x01"
    "c\x12\x06\x0a\x01r\x12\x01"
    "d";

class SharedPodsTest : public testing::Test {
 protected:
  SharedPodsTest() {
    directory_ = fs::path(testing::TempDir()) /
                 ("shared-" + std::to_string(getpid()) + "-" +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(directory_);
    process_.pod_resources_socket = directory_ / "k.sock";
    auto server = kubelet::Server::start({{pods::kList, [this](kubelet::Caller&, std::string_view) {
                                             ++asked_;
                                             return tl::expected<std::string, kubelet::Failure>(
                                                 std::string(kOnePod));
                                           }}});
    if (server) server_ = std::move(*server);
    auto listener =
        kubelet::Listener::open(loop_, process_.pod_resources_socket, 0600,
                                [this](Fd connection) { server_->adopt(std::move(connection)); });
    if (listener) listener_ = std::move(*listener);
  }
  ~SharedPodsTest() override {
    listener_.reset();
    server_->stop(milliseconds(0));
    fs::remove_all(directory_);
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

  asio::io_context loop_{1};
  fs::path directory_;
  config::ProcessOptions process_;
  std::atomic<int> asked_ = 0;
  std::unique_ptr<kubelet::Server> server_;
  std::unique_ptr<kubelet::Listener> listener_;
  SharedPods pods_{loop_, "test"};
};

TEST_F(SharedPodsTest, AreAskedForOnceForAllWhoWantThem) {
  int first = 0;
  int second = 0;
  auto one = pods_.follow(process_, {milliseconds(3'600'000), false, [&] { ++first; }});
  auto two = pods_.follow(process_, {milliseconds(1'800'000), false, [&] { ++second; }});
  EXPECT_EQ(first + second, 0) << "nothing before control is back in the loop";
  ASSERT_TRUE(eventually([&] { return first == 1 && second == 1; }));
  ASSERT_EQ(pods_.current()->containers.size(), 1U);
  EXPECT_EQ(pods_.current()->containers[0].owner, (pods::Owner{"ns", "p", "c"}));
  EXPECT_EQ(asked_, 1);
}

TEST_F(SharedPodsTest, FollowTheShortestInterval) {
  auto slow = pods_.follow(process_, {milliseconds(3'600'000), false, {}});
  auto fast = pods_.follow(process_, {milliseconds(10), false, {}});
  EXPECT_TRUE(eventually([&] { return asked_ >= 3; }));
}

TEST_F(SharedPodsTest, TellOneThatComesLate) {
  auto one = pods_.follow(process_, {milliseconds(3'600'000), false, {}});
  ASSERT_TRUE(eventually([&] { return pods_.current()->state == pods::State::kCurrent; }));
  auto two = pods_.follow(process_, {milliseconds(10), false, {}});
  EXPECT_TRUE(eventually([&] { return asked_ >= 3; })) << "who comes late may want more";
}

TEST_F(SharedPodsTest, AreLeftAloneWhenNobodyWantsThemAnyMore) {
  int told = 0;
  std::unique_ptr<SharedPods::Interest> other;
  // One that is told lets go of itself and of the next.
  auto one = pods_.follow(process_, {milliseconds(10), false, [&] {
                                       ++told;
                                       other.reset();
                                     }});
  other = pods_.follow(process_, {milliseconds(10), false, [&] { ++told; }});
  ASSERT_TRUE(eventually([&] { return told > 0; }));
  EXPECT_EQ(told, 1);
  one.reset();
  EXPECT_EQ(pods_.current()->state, pods::State::kUnknown);
  const int asked = asked_;
  loop_.restart();
  loop_.run_for(milliseconds(50));
  EXPECT_LE(asked_, asked + 1) << "one question may have been under way";
}

}  // namespace
}  // namespace kerf::agent
