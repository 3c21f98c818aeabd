#include "kube/client.h"

#include <filesystem>
#include <fstream>
#include <optional>

#include "kube/answers.h"
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

ClientOptions quick() {
  ClientOptions options;
  options.requests_per_second = 0;
  options.backoff_first = milliseconds(10);
  options.backoff_last = milliseconds(50);
  return options;
}

// Runs the loop until `done`, at most 20 s.
bool eventually(asio::io_context& loop, const std::function<bool()>& done) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done() && std::chrono::steady_clock::now() < until) {
    loop.restart();
    loop.run_for(milliseconds(5));
  }
  return done();
}

Request get(std::string path) { return {Verb::kGet, std::move(path), {}}; }

Result<Response> ask(asio::io_context& loop, Client& client, Request request) {
  std::optional<Result<Response>> answer;
  client.request(std::move(request), [&](Result<Response> r) { answer = std::move(r); });
  EXPECT_FALSE(answer.has_value()) << "called from inside the call";
  EXPECT_TRUE(eventually(loop, [&] { return answer.has_value(); }));
  return answer ? std::move(*answer) : fail(Kind::kInternal, "never answered");
}

Result<Response> ask_once(const StandIn& stand_in, Request request = get("/api/v1/nodes/a"),
                          ClientOptions options = quick()) {
  asio::io_context loop;
  Client client(loop, stand_in.access(ca()), options);
  return ask(loop, client, std::move(request));
}

void ok(const Seen&, Peer& peer) { peer.answer(200, "{}"); }

TEST(Client, SendsVerbPathTokenAndBody) {
  StandIn stand_in(server(), [](const Seen&, Peer& peer) { peer.answer(201, R"({"a":1})"); });
  Result<Response> answer = ask_once(
      stand_in, {Verb::kStrategicPatch, "/api/v1/nodes/a/status?fieldManager=kerf", R"({"b":2})"});
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, R"({"a":1})");
  Seen seen = stand_in.seen().at(0);
  EXPECT_EQ(seen.verb, "PATCH");
  EXPECT_EQ(seen.target, "/api/v1/nodes/a/status?fieldManager=kerf");
  EXPECT_EQ(seen.body, R"({"b":2})");
  EXPECT_NE(seen.head.find("Authorization: Bearer s3cret\r\n"), std::string::npos);
  EXPECT_NE(seen.head.find("Content-Type: application/strategic-merge-patch+json\r\n"),
            std::string::npos);
}

TEST(Client, KeepsOneConnectionForManyRequests) {
  StandIn stand_in(server(), ok);
  asio::io_context loop;
  Client client(loop, stand_in.access(ca()), quick());
  int answered = 0;
  for (int i = 0; i < 20; ++i) {
    client.request(get("/" + std::to_string(i)),
                   [&](Result<Response> r) { answered += r ? 1 : 0; });
  }
  EXPECT_TRUE(eventually(loop, [&] { return answered == 20; }));
  EXPECT_EQ(stand_in.connections(), 1);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(stand_in.seen().at(static_cast<std::size_t>(i)).target, "/" + std::to_string(i));
  }
}

TEST(Client, ReadsAnswersInChunks) {
  StandIn stand_in(server(), [](const Seen&, Peer& peer) {
    peer.begin_chunks();
    peer.chunk("{\"a\"");
    peer.chunk(":1}");
    peer.end_chunks();
  });
  EXPECT_EQ(ask_once(stand_in).value().body, R"({"a":1})");
}

struct Refusal {
  int status;
  Kind kind;
  std::string hint;
};

TEST(Client, TellsRefusalsApartAndSaysWhatToDo) {
  for (const Refusal& c : {Refusal{400, Kind::kInvalid, ""},
                           {401, Kind::kDenied, "token"},
                           {403, Kind::kDenied, "patch on nodes/status"},
                           {404, Kind::kNotFound, "name"},
                           {409, Kind::kConflict, "anew"},
                           {410, Kind::kGone, ""},
                           {422, Kind::kInvalid, ""},
                           {500, Kind::kInternal, "log"},
                           {302, Kind::kUnsupported, "redirects"}}) {
    StandIn stand_in(server(), [&](const Seen&, Peer& peer) {
      peer.answer(c.status, R"({"kind":"Status","message":"because"})",
                  "Location: https://127.0.0.1:1/\r\n");
    });
    Result<Response> answer =
        ask_once(stand_in, {Verb::kMergePatch, "/api/v1/nodes/a/status?x=y", "{}"});
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().kind, c.kind) << c.status;
    EXPECT_EQ(answer.error().native, c.status);
    EXPECT_EQ(answer.error().what, "PATCH /api/v1/nodes/a/status was answered " +
                                       std::to_string(c.status) + ": because");
    EXPECT_NE(answer.error().hint.find(c.hint), std::string::npos) << answer.error().hint;
    EXPECT_EQ(answer.error().text().find("s3cret"), std::string::npos);
    EXPECT_EQ(stand_in.seen().size(), 1U) << c.status;
  }
}

TEST(Client, NamesThePermissionAsRbacDoes) {
  EXPECT_EQ(permission(Verb::kGet, "/api/v1/nodes/a"), "get on nodes");
  EXPECT_EQ(permission(Verb::kGet, "/api/v1/nodes?fieldSelector=x"), "list on nodes");
  EXPECT_EQ(permission(Verb::kGet, "/api/v1/nodes?watch=1"), "watch on nodes");
  EXPECT_EQ(permission(Verb::kPost, "/api/v1/namespaces/default/events"), "create on events");
  EXPECT_EQ(permission(Verb::kPut, "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/a/nodefeatures/b"),
            "update on nodefeatures.nfd.k8s-sigs.io");
  EXPECT_EQ(permission(Verb::kStrategicPatch, "/api/v1/nodes/a/status"), "patch on nodes/status");
}

TEST(Client, RefusesAServerThatTheCaHasNotSigned) {
  Identity other = testing::make_server(testing::make_ca("another CA"));
  StandIn stand_in(other, ok);
  Result<Response> answer = ask_once(stand_in);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kDenied);
  EXPECT_NE(answer.error().hint.find("CA"), std::string::npos) << answer.error().text();
  EXPECT_TRUE(stand_in.seen().empty());
}

TEST(Client, RefusesAnExpiredCertificate) {
  StandIn stand_in(testing::make_server(ca(), "IP:127.0.0.1", -7200, -3600), ok);
  Result<Response> answer = ask_once(stand_in);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kDenied);
  EXPECT_NE(answer.error().what.find("expired"), std::string::npos) << answer.error().text();
}

TEST(Client, RefusesACertificateForAnotherAddressOrName) {
  StandIn stand_in(testing::make_server(ca(), "IP:127.0.0.2,DNS:elsewhere"), ok);
  Result<Response> answer = ask_once(stand_in);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kDenied);
  EXPECT_NE(answer.error().hint.find("127.0.0.1"), std::string::npos) << answer.error().text();
}

TEST(Client, FindsAServerByNameAndChecksTheName) {
  StandIn stand_in(testing::make_server(ca(), "DNS:localhost"), ok);
  Access access = stand_in.access(ca());
  access.host = "localhost";
  asio::io_context loop;
  Client client(loop, access, quick());
  Result<Response> answer = ask(loop, client, get("/version"));
  EXPECT_TRUE(answer.has_value()) << answer.error().text();
}

TEST(Client, SaysThatNobodyListens) {
  Access access;
  {
    StandIn stand_in(server(), ok);
    access = stand_in.access(ca());
  }
  asio::io_context loop;
  Client client(loop, access, quick());
  Result<Response> answer = ask(loop, client, get("/version"));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kGone);
  EXPECT_TRUE(answer.error().what.starts_with("GET /version: cannot connect"));
  EXPECT_EQ(answer.error().subject, access.url());
}

TEST(Client, GivesUpAtTheDeadlineAndServesTheNextRequest) {
  StandIn stand_in(server(), [](const Seen& seen, Peer& peer) {
    seen.target == "/slow" ? peer.wait_for_close() : peer.answer(200, "{}");
  });
  asio::io_context loop;
  Client client(loop, stand_in.access(ca()), quick());
  Request slow = get("/slow");
  slow.deadline = milliseconds(50);
  Result<Response> answer = ask(loop, client, slow);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kTimeout);
  EXPECT_TRUE(ask(loop, client, get("/fine")).has_value());
}

TEST(Client, RefusesBrokenTruncatedAndOversizedAnswers) {
  struct Case {
    std::string bytes;
    Kind kind;
  };
  for (const Case& c :
       {Case{"nonsense\r\n\r\n", Kind::kCorrupt},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Kind::kGone},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Kind::kCorrupt},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", Kind::kCorrupt},
        {"", Kind::kGone}}) {
    StandIn stand_in(server(), [&](const Seen&, Peer& peer) {
      peer.write(c.bytes);
      peer.drop();
    });
    Result<Response> answer = ask_once(stand_in);
    ASSERT_FALSE(answer.has_value()) << c.bytes;
    EXPECT_EQ(answer.error().kind, c.kind) << answer.error().text();
  }
}

TEST(Client, SendsAgainOverANewConnectionWhenTheKeptOneWasDead) {
  StandIn stand_in(server(), [](const Seen& seen, Peer& peer) {
    bool second_on_first = seen.connection == 0 && seen.target == "/2";
    second_on_first ? peer.drop() : peer.answer(200, "{}");
  });
  asio::io_context loop;
  Client client(loop, stand_in.access(ca()), quick());
  EXPECT_TRUE(ask(loop, client, get("/1")).has_value());
  Result<Response> answer = ask(loop, client, get("/2"));
  EXPECT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(stand_in.connections(), 2);
}

TEST(Client, DoesNotCreateTwiceWhenAConnectionBreaks) {
  StandIn stand_in(server(), [](const Seen& seen, Peer& peer) {
    seen.verb == "POST" ? peer.drop() : peer.answer(200, "{}");
  });
  asio::io_context loop;
  Client client(loop, stand_in.access(ca()), quick());
  EXPECT_TRUE(ask(loop, client, get("/1")).has_value());
  EXPECT_FALSE(ask(loop, client, {Verb::kPost, "/2", "{}"}).has_value());
  EXPECT_EQ(stand_in.seen().size(), 2U);
}

TEST(Client, ReadsTheTokenAnewWhenItIsRefused) {
  std::string directory = ::testing::TempDir() + "kube-token-" + std::to_string(getpid());
  std::filesystem::create_directories(directory);
  std::string file = directory + "/token";
  std::ofstream(file) << "old\n";
  StandIn stand_in(server(), [&](const Seen& seen, Peer& peer) {
    bool fresh = seen.head.find("Bearer new\r\n") != std::string::npos;
    // Rotated while the request is under way.
    std::ofstream(file) << "new\n";
    peer.answer(fresh ? 200 : 401, "{}");
  });
  Access access = stand_in.access(ca());
  access.token = {{}, file};
  asio::io_context loop;
  Client client(loop, access, quick());
  EXPECT_TRUE(ask(loop, client, get("/1")).has_value());
  EXPECT_EQ(stand_in.seen().size(), 2U);
  std::filesystem::remove_all(directory);
}

TEST(Client, ComesBackWhenABusyServerSaysSo) {
  std::atomic<int> asked = 0;
  StandIn stand_in(server(), [&](const Seen&, Peer& peer) {
    ++asked < 3 ? peer.answer(429, "{}", "Retry-After: 0\r\n") : peer.answer(200, "{}");
  });
  EXPECT_TRUE(ask_once(stand_in).has_value());
  EXPECT_EQ(asked, 3);
}

TEST(Client, DoesNotWaitForABusyServerBeyondTheDeadline) {
  StandIn stand_in(
      server(), [&](const Seen&, Peer& peer) { peer.answer(429, "{}", "Retry-After: 3600\r\n"); });
  Result<Response> answer = ask_once(stand_in);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kBusy);
  EXPECT_EQ(answer.error().native, 429);
}

TEST(Client, HoldsNoMoreRequestsThanItsQueueTakes) {
  StandIn stand_in(server(), ok);
  asio::io_context loop;
  ClientOptions options = quick();
  options.queue_limit = 3;
  Client client(loop, stand_in.access(ca()), options);
  int served = 0;
  int busy = 0;
  for (int i = 0; i < 10; ++i) {
    client.request(get("/"), [&](Result<Response> r) {
      r ? ++served : ++busy;
      if (!r) {
        EXPECT_EQ(r.error().kind, Kind::kBusy);
      }
    });
  }
  EXPECT_TRUE(eventually(loop, [&] { return served + busy == 10; }));
  EXPECT_EQ(served, 3);
}

TEST(Client, SpreadsRequestsBeyondTheBurstOverTime) {
  StandIn stand_in(server(), ok);
  asio::io_context loop;
  ClientOptions options = quick();
  options.requests_per_second = 1;
  options.burst = 2;
  Client client(loop, stand_in.access(ca()), options);
  int served = 0;
  int late = 0;
  for (int i = 0; i < 4; ++i) {
    Request request = get("/");
    request.deadline = milliseconds(i < 2 ? 15'000 : 300);
    client.request(request, [&](Result<Response> r) { r ? ++served : ++late; });
  }
  EXPECT_TRUE(eventually(loop, [&] { return served + late == 4; }));
  EXPECT_EQ(stand_in.seen().size(), 2U);
}

TEST(Client, CallsNobodyBackOnceItIsGone) {
  StandIn stand_in(server(), [](const Seen&, Peer& peer) { peer.wait_for_close(); });
  asio::io_context loop;
  auto owned = std::make_shared<int>(1);
  auto client = std::make_unique<Client>(loop, stand_in.access(ca()), quick());
  for (int i = 0; i < 3; ++i) {
    client->request(get("/"), [owned](Result<Response>) { FAIL() << "called back"; });
  }
  EXPECT_TRUE(eventually(loop, [&] { return !stand_in.seen().empty(); }));
  client.reset();
  EXPECT_TRUE(eventually(loop, [&] { return owned.use_count() == 1; }));
}

TEST(Client, MayBeDestroyedByAnAnswer) {
  StandIn stand_in(server(), ok);
  asio::io_context loop;
  auto client = std::make_unique<Client>(loop, stand_in.access(ca()), quick());
  bool answered = false;
  client->request(get("/"), [&](Result<Response>) {
    client.reset();
    answered = true;
  });
  EXPECT_TRUE(eventually(loop, [&] { return answered; }));
  loop.restart();
  loop.run_for(milliseconds(20));
}

TEST(Client, ClosesAConnectionThatNobodyUses) {
  std::atomic<int> closed = 0;
  StandIn stand_in(server(), [&](const Seen&, Peer& peer) {
    peer.answer(200, "{}");
    peer.wait_for_close();
    ++closed;
  });
  asio::io_context loop;
  ClientOptions options = quick();
  options.idle = milliseconds(10);
  Client client(loop, stand_in.access(ca()), options);
  EXPECT_TRUE(ask(loop, client, get("/")).has_value());
  EXPECT_TRUE(eventually(loop, [&] { return closed == 1; }));
}

TEST(Client, RefusesWhatWouldBreakTheRequestLine) {
  StandIn stand_in(server(), ok);
  EXPECT_EQ(ask_once(stand_in, get("/a b")).error().kind, Kind::kInvalid);
  EXPECT_EQ(ask_once(stand_in, get("/a\r\nX: y")).error().kind, Kind::kInvalid);
  EXPECT_EQ(ask_once(stand_in, get("a")).error().kind, Kind::kInvalid);
  EXPECT_EQ(escape("a/b c=ü"), "a%2Fb%20c%3D%C3%BC");
}

TEST(Client, SaysWhichCaCannotBeUsed) {
  StandIn stand_in(server(), ok);
  Access access = stand_in.access(ca());
  access.ca.text = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n";
  asio::io_context loop;
  Client client(loop, access, quick());
  Result<Response> answer = ask(loop, client, get("/"));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::kInvalid);
  EXPECT_NE(answer.error().hint.find("PEM"), std::string::npos);
}

}  // namespace
}  // namespace kerf::kube
