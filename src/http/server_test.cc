// The server over real sockets on loopback, with well-behaved and with hostile clients.
#include "http/server.h"

#include <arpa/inet.h>
#include <atomic>
#include <functional>
#include <future>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace kerf::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatienceMs = 20'000;

// Calls `condition` until it is true; false when it never is.
bool eventually(const std::function<bool()>& condition) {
  for (std::int64_t end = system_clock().mono_ms() + kPatienceMs; system_clock().mono_ms() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

// A server with a loop thread of its own.
class Running {
 public:
  explicit Running(Handler handler, Limits limits = {}) {
    auto made = Server::listen(loop_, "127.0.0.1:0", std::move(handler), limits);
    EXPECT_TRUE(made) << made.error().text();
    server_ = std::move(*made);
    port_ = server_->port();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Running() {
    on_loop([this] { server_.reset(); });
    thread_.join();  // with the server gone, nothing keeps the loop running
  }
  std::uint16_t port() const { return port_; }
  void publish() {
    on_loop([this] { server_->publish(); });
  }
  ServerStats stats() {
    ServerStats out;
    on_loop([&] { out = server_->stats(); });
    return out;
  }

 private:
  void on_loop(const std::function<void()>& work) {
    std::promise<void> done;
    asio::post(loop_, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  asio::io_context loop_{1};
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    EXPECT_TRUE(connected_);
  }
  Client& send(std::string_view text) {
    while (!text.empty()) {
      ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return *this;
  }
  // Everything until the server closes, or until `text` has come when given.
  std::string receive(std::string_view text = {}) {
    while (text.empty() || got_.find(text) == std::string::npos) {
      pollfd poll_on{fd_.get(), POLLIN, 0};
      if (::poll(&poll_on, 1, kPatienceMs) <= 0) {
        ADD_FAILURE() << "nothing came; so far: " << got_.substr(0, 500);
        break;
      }
      char buffer[65536];
      ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n <= 0) break;
      got_.append(buffer, static_cast<std::size_t>(n));
    }
    return std::exchange(got_, {});
  }
  bool closed_by_server() {
    pollfd poll_on{fd_.get(), POLLIN, 0};
    char byte;
    return ::poll(&poll_on, 1, kPatienceMs) > 0 && ::recv(fd_.get(), &byte, 1, 0) <= 0;
  }
  void finish() { ::shutdown(fd_.get(), SHUT_WR); }
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  bool connected_ = false;
  std::string got_;
};

Handler echo_path() {
  return [](const Request& request) {
    Response out;
    out.body = request.path;
    return out;
  };
}

std::string request(std::string_view path, std::string_view more = "Connection: close\r\n") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more) + "\r\n";
}

TEST(Server, LetsACrowdWaitWhileTheLoopIsBusy) {
  asio::io_context loop{1};  // does not run
  auto server = Server::listen(loop, "127.0.0.1:0", echo_path());
  ASSERT_TRUE(server) << server.error().text();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons((*server)->port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<Fd> crowd;
  for (int i = 0; i < 100; ++i) {
    const Fd& fd = crowd.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const int status = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to);
    EXPECT_TRUE(status == 0 || errno == EINPROGRESS);
  }
  for (const Fd& fd : crowd) {
    pollfd connected{fd.get(), POLLOUT, 0};
    ASSERT_EQ(::poll(&connected, 1, kPatienceMs), 1);
  }
}

TEST(Server, AnswersAndClosesWhenAsked) {
  Running server(echo_path());
  std::string answer = Client(server.port()).send(request("/a")).receive();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Length: 2\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n/a"));
}

TEST(Server, KeepsTheConnectionAndAnswersPipelinedRequestsInOrder) {
  Running server(echo_path());
  Client client(server.port());
  client.send(request("/one", "") + request("/two", "") + request("/three"));
  std::string answer = client.receive();
  auto one = answer.find("\r\n\r\n/one"), two = answer.find("\r\n\r\n/two"),
       three = answer.find("\r\n\r\n/three");
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_NE(three, std::string::npos);
  EXPECT_EQ(server.stats().responses.at(200), 3u);
}

TEST(Server, AcceptsARequestByteByByte) {
  Running server(echo_path());
  Client client(server.port());
  for (char c : request("/slow")) client.send(std::string_view(&c, 1));
  EXPECT_THAT(client.receive(), EndsWith("/slow"));
}

TEST(Server, GivesHeadTheLengthWithoutTheBody) {
  Running server(echo_path());
  std::string answer = Client(server.port()).send("HEAD /four HTTP/1.0\r\n\r\n").receive();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(Server, DoesNotReadABodyAsTheNextRequest) {
  Running server(echo_path());
  Client client(server.port());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + request("/smuggled"));
  std::string answer = client.receive();
  EXPECT_THAT(answer, EndsWith("/a"));
  EXPECT_EQ(server.stats().responses.at(200), 1u);
}

TEST(Server, TellsAClientWhatIsWrongWithItsRequest) {
  Running server(echo_path());
  EXPECT_THAT(Client(server.port()).send("nonsense\r\n\r\n").receive(),
              StartsWith("HTTP/1.1 400 Bad Request"));
  EXPECT_THAT(Client(server.port()).send(std::string("\x16\x03\x01\x02\x00\x01", 6)).receive(),
              HasSubstr("plain HTTP, not HTTPS"));
  // More than fits: the answer still arrives whole, though the rest is never read.
  EXPECT_THAT(Client(server.port()).send("GET /" + std::string(100'000, 'a')).receive(),
              StartsWith("HTTP/1.1 414 "));
  EXPECT_THAT(
      Client(server.port()).send("GET / HTTP/1.1\r\nA: " + std::string(100'000, 'a')).receive(),
      StartsWith("HTTP/1.1 431 "));
}

TEST(Server, SurvivesGarbageOfEveryKind) {
  Running server(echo_path());
  unsigned state = 12345;
  for (int round = 0; round < 200; ++round) {
    std::string junk;
    for (unsigned i = 0, size = round * 7u % 600; i < size; ++i) {
      state = state * 1664525 + 1013904223;
      junk += static_cast<char>(state >> 24);
    }
    Client client(server.port());
    client.send(round % 3 == 0 ? "GET " + junk : round % 3 == 1 ? request("/", junk) : junk);
    if (round % 2 == 0) client.finish();
  }
  EXPECT_THAT(Client(server.port()).send(request("/alive")).receive(), EndsWith("/alive"));
}

TEST(Server, AnswersAHandlerThatThrowsWith500) {
  Running server([](const Request&) -> Response { throw std::runtime_error("defect"); });
  EXPECT_THAT(Client(server.port()).send(request("/")).receive(), StartsWith("HTTP/1.1 500 "));
}

TEST(Server, EndsARequestThatNeverComesWhole) {
  Limits limits;
  limits.head = std::chrono::milliseconds(50);
  limits.idle = std::chrono::milliseconds(50);
  Running server(echo_path(), limits);
  EXPECT_TRUE(Client(server.port()).closed_by_server());
  EXPECT_TRUE(Client(server.port()).send("GET / HT").closed_by_server());
  Client kept(server.port());
  kept.send(request("/a", ""));
  kept.receive("/a");
  EXPECT_TRUE(kept.closed_by_server());
  EXPECT_TRUE(eventually([&] { return server.stats().connections == 0; }));
}

TEST(Server, GivesUpOnAClientThatDoesNotRead) {
  Limits limits;
  limits.write = std::chrono::milliseconds(100);
  Running server(
      [](const Request&) {
        Response out;
        out.body.assign(32u << 20, 'x');
        return out;
      },
      limits);
  Client client(server.port());
  client.send(request("/"));
  EXPECT_TRUE(eventually([&] { return server.stats().responses.contains(200); }));
  EXPECT_TRUE(eventually([&] { return server.stats().connections == 0; }));
}

TEST(Server, RefusesToHoldEverMoreForClientsThatDoNotRead) {
  Limits limits;
  limits.buffered = 1u << 20;
  Running server(
      [](const Request&) {
        Response out;
        out.body.assign(32u << 20, 'x');
        return out;
      },
      limits);
  Client first(server.port());
  first.send(request("/"));
  EXPECT_TRUE(eventually([&] { return server.stats().responses.contains(200); }));
  EXPECT_THAT(Client(server.port()).send(request("/")).receive(), StartsWith("HTTP/1.1 503 "));
}

TEST(Server, LetsNewcomersInThoughAllPlacesAreTakenBySlowOnes) {
  Limits limits;
  limits.connections = 8;
  Running server(echo_path(), limits);
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 30; ++i) {
    slow.push_back(std::make_unique<Client>(server.port()));
    slow.back()->send("GET /never");
  }
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(Client(server.port()).send(request("/probe")).receive(), EndsWith("/probe"));
  }
  auto stats = server.stats();
  EXPECT_LE(stats.connections, 8u);
  EXPECT_GT(stats.evicted, 0u);
}

// A stream whose events count up.
struct Counting {
  std::shared_ptr<std::atomic<int>> made = std::make_shared<std::atomic<int>>(0);
  std::size_t padding = 0;
  Handler handler() {
    auto source = std::make_shared<EventSource>();
    source->make = [count = made, size = padding] {
      return "data: " + std::to_string(++*count) + std::string(size, ' ') + "\n\n";
    };
    return [source](const Request& request) {
      Response out;
      if (request.path == "/events") {
        out.content_type = "text/event-stream";
        out.events = source;
      }
      return out;
    };
  }
};

Limits without_gap() {
  Limits limits;
  limits.gap = std::chrono::milliseconds(0);
  return limits;
}

TEST(Stream, SendsTheStateAtOnceAndAfterEachChange) {
  Counting counting;
  Running server(counting.handler(), without_gap());
  Client client(server.port());
  client.send(request("/events", ""));
  std::string first = client.receive("data: 1\n\n");
  EXPECT_THAT(first, HasSubstr("Content-Type: text/event-stream\r\n"));
  EXPECT_THAT(first, HasSubstr("\r\n\r\nretry: 2000\n\n"));
  EXPECT_EQ(first.find("Content-Length"), std::string::npos);
  server.publish();
  EXPECT_THAT(client.receive("\n\n"), HasSubstr("data: 2\n\n"));
  EXPECT_EQ(server.stats().streams, 1u);
}

TEST(Stream, MakesOneEventForAllWhoWatch) {
  Counting counting;
  Running server(counting.handler(), without_gap());
  Client a(server.port()), b(server.port());
  a.send(request("/events")).receive("data: 1");
  b.send(request("/events")).receive("data: 2");
  server.publish();
  a.receive("data: 3");
  b.receive("data: 3");
  EXPECT_EQ(*counting.made, 3);
}

TEST(Stream, JoinsChangesThatComeFasterThanTheGap) {
  Counting counting;
  Limits limits;
  limits.gap = std::chrono::milliseconds(100);
  Running server(counting.handler(), limits);
  Client client(server.port());
  client.send(request("/events")).receive("data: 1");
  for (int i = 0; i < 1000; ++i) server.publish();
  client.receive("data: 2");
  EXPECT_LT(*counting.made, 200);
}

TEST(Stream, CostsNothingWhenNobodyWatches) {
  Counting counting;
  Running server(counting.handler(), without_gap());
  for (int i = 0; i < 100; ++i) server.publish();
  EXPECT_EQ(*counting.made, 0);
}

TEST(Stream, KeepsQuietConnectionsOpenAndNoticesThoseThatLeave) {
  Counting counting;
  Limits limits;
  limits.heartbeat = std::chrono::milliseconds(20);
  Running server(counting.handler(), limits);
  {
    Client client(server.port());
    client.send(request("/events")).receive(":\n\n");
    EXPECT_EQ(server.stats().streams, 1u);
  }
  EXPECT_TRUE(eventually([&] { return server.stats().connections == 0; }));
}

TEST(Stream, DropsAWatcherThatDoesNotRead) {
  Counting counting;
  counting.padding = 8u << 20;
  Limits limits = without_gap();
  limits.heartbeat = std::chrono::milliseconds(200);
  Running server(counting.handler(), limits);
  Client client(server.port());
  client.send(request("/events"));
  EXPECT_TRUE(eventually([&] { return counting.made->load() > 0; }));
  for (int i = 0; i < 20; ++i) server.publish();
  EXPECT_TRUE(eventually([&] { return server.stats().connections == 0; }));
}

TEST(Stream, IsRefusedWhenThereAreTooMany) {
  Counting counting;
  Limits limits;
  limits.streams = 2;
  Running server(counting.handler(), limits);
  Client a(server.port()), b(server.port());
  a.send(request("/events")).receive("data:");
  b.send(request("/events")).receive("data:");
  std::string third = Client(server.port()).send(request("/events")).receive();
  EXPECT_THAT(third, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(third, HasSubstr("Retry-After: 2\r\n"));
  EXPECT_THAT(Client(server.port()).send(request("/other")).receive(), StartsWith("HTTP/1.1 200"));
}

TEST(Stream, EndsWhenTheServerStops) {
  Counting counting;
  std::unique_ptr<Running> server = std::make_unique<Running>(counting.handler());
  Client client(server->port());
  client.send(request("/events")).receive("data: 1");
  server.reset();
  EXPECT_TRUE(client.closed_by_server());
}

TEST(Listening, OnAllAddressesServesBothFamilies) {
  asio::io_context loop;
  auto server = Server::listen(loop, ":0", echo_path());
  ASSERT_TRUE(server) << server.error().text();
  std::thread thread([&] { loop.run(); });
  EXPECT_THAT(Client((*server)->port()).send(request("/v4")).receive(), EndsWith("/v4"));
  asio::post(loop, [&] { server->reset(); });
  thread.join();
}

TEST(Listening, OnATakenAddressSaysWhatToDo) {
  asio::io_context loop;
  auto first = Server::listen(loop, "127.0.0.1:0", echo_path());
  ASSERT_TRUE(first);
  auto second = Server::listen(loop, (*first)->address(), echo_path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, Kind::kBusy);
  EXPECT_EQ(second.error().subject, (*first)->address());
  EXPECT_THAT(second.error().what, HasSubstr("in use"));
  EXPECT_THAT(second.error().hint, HasSubstr("--listen"));
}

TEST(Listening, OnAnAddressOfAnotherMachineIsRefused) {
  asio::io_context loop;
  auto server = Server::listen(loop, "192.0.2.1:0", echo_path());
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().kind, Kind::kNotFound);
  EXPECT_FALSE(Server::listen(loop, "no port", echo_path()));
  EXPECT_FALSE(Server::listen(loop, "host.invalid:1", echo_path()));
}

TEST(Listening, CanStartAgainAtOnceOnTheSamePort) {
  asio::io_context loop;
  std::string address;
  {
    auto first = Server::listen(loop, "127.0.0.1:0", echo_path());
    ASSERT_TRUE(first);
    address = (*first)->address();
  }
  EXPECT_TRUE(Server::listen(loop, address, echo_path()));
}

}  // namespace
}  // namespace kerf::http
