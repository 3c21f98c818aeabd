#include "kube/watch.h"

#include <set>

#include "kube/stand_in_test.h"

#include <asio/io_context.hpp>

namespace kerf::kube {
namespace {

using std::chrono::milliseconds;
using testing::ca;
using testing::Identity;
using testing::Peer;
using testing::Seen;
using testing::server;
using testing::StandIn;

std::string object(int version) {
  return R"({"metadata":{"name":"a","resourceVersion":")" + std::to_string(version) + R"("}})";
}

std::string list(int version) {
  return R"({"metadata":{"resourceVersion":")" + std::to_string(version) + R"("},"items":[)" +
         object(version) + "]}";
}

std::string event(std::string_view type, int version) {
  return R"({"type":")" + std::string(type) + R"(","object":)" + object(version) + "}\n";
}

bool is_watch(const Seen& seen) { return seen.target.find("watch=1") != std::string::npos; }

// What one watch has told.
struct Told {
  int lists = 0;
  std::vector<std::string> events;
  std::vector<Error> troubles;
  int works_again = 0;
};

class Watching : public ::testing::Test {
 protected:
  void start(StandIn::Script script, ClientOptions options = quick()) {
    stand_in_ = std::make_unique<StandIn>(server(), std::move(script));
    Client client(loop_, stand_in_->access(ca()), options);
    watch_ = client.watch(
        "/api/v1/nodes", "fieldSelector=metadata.name%3Da",
        {[this](std::span<const std::string>) { ++told_.lists; },
         [this](Change change, std::string_view what) {
           told_.events.push_back(std::to_string(static_cast<int>(change)) + std::string(what));
         },
         [this](const Error* error) {
           if (error == nullptr) ++told_.works_again;
           if (error != nullptr) told_.troubles.push_back(*error);
         }});
  }

  static ClientOptions quick() {
    ClientOptions options;
    options.backoff_first = milliseconds(5);
    options.backoff_last = milliseconds(20);
    return options;
  }

  bool eventually(const std::function<bool()>& done) {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done() && std::chrono::steady_clock::now() < until) {
      loop_.restart();
      loop_.run_for(milliseconds(5));
    }
    return done();
  }

  asio::io_context loop_;
  std::unique_ptr<StandIn> stand_in_;
  std::unique_ptr<Watch> watch_;
  Told told_;
};

TEST_F(Watching, ListsAndThenFollowsFromThere) {
  start([](const Seen& seen, Peer& peer) {
    if (!is_watch(seen)) return peer.answer(200, list(7));
    peer.begin_chunks();
    std::string both = event("MODIFIED", 8) + event("BOOKMARK", 9) + event("DELETED", 10);
    for (char c : both) peer.chunk(std::string(1, c));
    peer.wait_for_close();
  });
  ASSERT_TRUE(eventually([&] { return told_.events.size() == 2; }));
  EXPECT_EQ(told_.lists, 1);
  EXPECT_EQ(told_.events[0], "1" + object(8));
  EXPECT_EQ(told_.events[1], "2" + object(10));
  EXPECT_TRUE(told_.troubles.empty());
  std::vector<Seen> seen = stand_in_->seen();
  EXPECT_EQ(seen[0].target, "/api/v1/nodes?fieldSelector=metadata.name%3Da");
  EXPECT_NE(seen[1].target.find("resourceVersion=7"), std::string::npos);
  EXPECT_NE(seen[1].target.find("allowWatchBookmarks=true"), std::string::npos);
}

TEST_F(Watching, GoesOnWhereItWasAfterALostConnection) {
  start([](const Seen& seen, Peer& peer) {
    if (!is_watch(seen)) return peer.answer(200, list(7));
    peer.begin_chunks();
    if (seen.target.find("resourceVersion=7&") != std::string::npos) {
      peer.chunk(event("MODIFIED", 8) + event("BOOKMARK", 20));
      return peer.drop();
    }
    EXPECT_NE(seen.target.find("resourceVersion=20&"), std::string::npos);
    peer.chunk(event("MODIFIED", 21));
    peer.wait_for_close();
  });
  ASSERT_TRUE(eventually([&] { return told_.events.size() == 2; }));
  EXPECT_EQ(told_.lists, 1);
  EXPECT_TRUE(told_.troubles.empty());
}

TEST_F(Watching, ListsAnewWhenTheServerHasForgotten) {
  std::atomic<int> lists = 0;
  start([&](const Seen& seen, Peer& peer) {
    if (!is_watch(seen)) return peer.answer(200, list(++lists * 100));
    if (seen.target.find("resourceVersion=100&") != std::string::npos) {
      return peer.answer(410, "{}");
    }
    peer.begin_chunks();
    if (seen.target.find("resourceVersion=200&") != std::string::npos) {
      peer.chunk(R"({"type":"ERROR","object":{"code":410,"message":"too old"}})"
                 "\n");
    }
    peer.wait_for_close();
  });
  ASSERT_TRUE(eventually([&] { return told_.lists == 3; }));
  EXPECT_TRUE(told_.troubles.empty());
}

TEST_F(Watching, TellsOfTroubleAndOfItsEnd) {
  std::atomic<int> asked = 0;
  start([&](const Seen& seen, Peer& peer) {
    if (++asked < 3) return peer.answer(403, "{}");
    if (!is_watch(seen)) return peer.answer(200, list(7));
    peer.begin_chunks();
    peer.wait_for_close();
  });
  ASSERT_TRUE(eventually([&] { return told_.lists == 1; }));
  ASSERT_EQ(told_.troubles.size(), 2U);
  EXPECT_EQ(told_.troubles[0].kind, Kind::kDenied);
  EXPECT_NE(told_.troubles[0].hint.find("list on nodes"), std::string::npos);
  EXPECT_EQ(told_.works_again, 1);
}

TEST_F(Watching, SurvivesGarbageInEveryPlace) {
  std::atomic<int> asked = 0;
  start([&](const Seen& seen, Peer& peer) {
    switch (asked++) {
      case 0:
        return peer.answer(200, "[]");
      case 1:
        return peer.answer(200, R"({"metadata":{"resourceVersion":7},"items":[]})");
      case 2:
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
        return peer.wait_for_close();
      case 3:
        return peer.answer(200, list(7));
      case 4:
        peer.begin_chunks();
        peer.chunk("not json\n");
        return peer.wait_for_close();
      default:
        if (!is_watch(seen)) return peer.answer(200, list(8));
        peer.begin_chunks();
        peer.chunk(event("MODIFIED", 9));
        peer.wait_for_close();
    }
  });
  ASSERT_TRUE(eventually([&] { return told_.events.size() == 1; }));
  EXPECT_EQ(told_.troubles.size(), 4U);
  for (const Error& error : told_.troubles) EXPECT_EQ(error.kind, Kind::kCorrupt) << error.text();
}

TEST_F(Watching, DoesNotHoldAnEventWithoutEnd) {
  ClientOptions options = quick();
  options.response_limit = 4096;
  start(
      [](const Seen& seen, Peer& peer) {
        if (!is_watch(seen)) return peer.answer(200, list(7));
        peer.begin_chunks();
        for (int i = 0; i < 10; ++i) peer.chunk(std::string(1000, 'x'));
        peer.wait_for_close();
      },
      options);
  ASSERT_TRUE(eventually([&] { return !told_.troubles.empty(); }));
  EXPECT_EQ(told_.troubles[0].kind, Kind::kCorrupt);
}

TEST_F(Watching, DoesNotFloodAServerThatEndsEachWatchAtOnce) {
  start([](const Seen& seen, Peer& peer) {
    if (!is_watch(seen)) return peer.answer(200, list(7));
    peer.begin_chunks();
    peer.end_chunks();
  });
  ASSERT_TRUE(eventually([&] { return stand_in_->seen().size() >= 6; }));
  EXPECT_EQ(told_.lists, 1);
  EXPECT_TRUE(told_.troubles.empty());
}

TEST_F(Watching, EndsWithItsOwner) {
  start([](const Seen& seen, Peer& peer) {
    if (!is_watch(seen)) return peer.answer(200, list(7));
    peer.begin_chunks();
    peer.wait_for_close();
  });
  ASSERT_TRUE(eventually([&] { return stand_in_->seen().size() == 2; }));
  watch_.reset();
  loop_.restart();
  loop_.run();  // nothing is left to wait for
}

TEST(WatchEvent, IsRefusedWhenItIsNone) {
  for (const char* line :
       {"", "{}", "[]", "null", R"({"type":"ADDED"})", R"({"type":1,"object":{}})",
        R"({"type":"NEW","object":{}})", R"({"type":"ADDED","object":[]})"}) {
    ASSERT_FALSE(parse_event(line).has_value()) << line;
    EXPECT_EQ(parse_event(line).error().kind, Kind::kCorrupt);
  }
}

}  // namespace
}  // namespace kerf::kube
