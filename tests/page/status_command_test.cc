// `kerf status` against a real server: what is printed, what it exits with, what it says when
// nobody or somebody else answers.
#include "cli/status_command.h"

#include <thread>

#include "http/server.h"
#include "http/site.h"
#include "page/sample_nodes.h"

#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace kerf::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Serves on loopback while it lives.
class Serving {
 public:
  explicit Serving(http::Handler handler, http::Limits limits = {}) {
    auto made = http::Server::listen(loop_, "127.0.0.1:0", std::move(handler), limits);
    EXPECT_TRUE(made);
    server_ = std::move(*made);
    address_ = server_->address();
    thread_ = std::thread([this] { loop_.run(); });
  }
  explicit Serving(metrics::NodeStatus node)
      : Serving(http::make_site({[node] { return node; }, [] { return std::string(); }})) {}
  ~Serving() {
    asio::post(loop_, [this] { server_.reset(); });
    thread_.join();
  }
  const std::string& address() const { return address_; }

 private:
  asio::io_context loop_{1};
  std::unique_ptr<http::Server> server_;
  std::string address_;
  std::thread thread_;
};

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

Outcome run(std::vector<std::string> args) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.status = run_status(args);
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.err = ::testing::internal::GetCapturedStderr();
  return outcome;
}

std::string text_of(const metrics::NodeStatus& node, bool colour = false) {
  auto status = http::parse_status(http::status_json(node));
  return status ? status_text(*status, colour) : "";
}

TEST(StatusCommand, ShowsAHealthyNodeAndExitsWithZero) {
  Serving server(samples::healthy());
  auto outcome = run({"--address", server.address()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* part :
       {"talos-worker-1  ok", "driver 580.126.09, CUDA 13.0, up 2 h 3 min, kerf 0.1.0",
        "GPU 0 NVIDIA GeForce RTX 3090, 24 GiB, 0000:3b:00.0, NUMA node 0", "■■■■  4 of 4 in use",
        "□□■□  1 of 4 in use", "gpu-device-plugin/gpu-test-1 (cuda-test)", "allocated 20:12:04 UTC",
        "time-slicing x 4", "registered", "LAST EVENTS"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));  // not a terminal
}

TEST(StatusCommand, ExitsWithOneWhenSomethingIsWrong) {
  Serving server(samples::one_unhealthy());
  auto outcome = run({"--address=" + server.address()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.out, HasSubstr("degraded: GPU is unhealthy: Xid 79"));
  EXPECT_THAT(outcome.out, HasSubstr("reset the GPU"));
  EXPECT_THAT(outcome.out, HasSubstr("××××"));
}

TEST(StatusCommand, PrintsTheJsonAsItIs) {
  Serving server(samples::mig());
  auto outcome = run({"--json", "--address", server.address()});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, http::status_json(samples::mig()) + "\n");
}

TEST(StatusCommand, WaitingForADriverIsNoFailure) {
  Serving server(samples::no_driver());
  auto outcome = run({"--address", server.address()});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, HasSubstr("waiting: no NVIDIA driver found"));
  EXPECT_THAT(outcome.out, HasSubstr("nothing is advertised to the kubelet"));
}

TEST(StatusCommand, SaysWhatToDoWhenNobodyListens) {
  std::string address;
  {
    Serving gone(samples::healthy());
    address = gone.address();
  }
  auto outcome = run({"--address", address});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("cannot reach the agent"));
  EXPECT_THAT(outcome.err, HasSubstr(address));
  EXPECT_THAT(outcome.err, HasSubstr("is the agent running"));
}

TEST(StatusCommand, SaysWhenSomebodyElseAnswers) {
  Serving other([](const http::Request&) {
    http::Response out;
    out.body = "<html>";
    return out;
  });
  auto outcome = run({"--address", other.address()});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("is it really kerf"));
  Serving refusing([](const http::Request&) {
    http::Response out;
    out.status = 404;
    return out;
  });
  outcome = run({"--address", refusing.address()});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("404 Not Found"));
}

TEST(StatusCommand, RefusesWrongUsage) {
  EXPECT_EQ(run({"--addres"}).status, 2);
  EXPECT_EQ(run({"--address"}).status, 2);
  EXPECT_THAT(run({"--address", "2112"}).err, HasSubstr("write host:port"));
  auto help = run({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, StartsWith("usage: kerf status"));
}

TEST(HttpGet, GivesUpWhenNoAnswerComes) {
  // A stream never ends; the first event is not a whole answer.
  auto source = std::make_shared<http::EventSource>();
  source->make = [] { return std::string("data: x\n\n"); };
  Serving server([source](const http::Request&) {
    http::Response out;
    out.events = source;
    return out;
  });
  auto answer = http_get(server.address(), "/", 50);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, Kind::kTimeout);
}

TEST(StatusText, DoesNotLetTextSteerTheTerminal) {
  std::string text = text_of(samples::hostile());
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("<img src=x onerror=alert(1)>"));
}

TEST(StatusText, ColoursStatesOnATerminal) {
  std::string text = text_of(samples::one_unhealthy(), true);
  EXPECT_THAT(text, HasSubstr("\x1b[33mdegraded\x1b[0m"));
  EXPECT_THAT(text, HasSubstr("\x1b[31m×\x1b[0m"));
}

TEST(StatusText, DrawsManySlicesInProportion) {
  std::string text = text_of(samples::large());
  EXPECT_THAT(text, HasSubstr("40 of 100 in use"));
  std::string used, free;
  for (int i = 0; i < 24; ++i) used += "■";
  for (int i = 0; i < 36; ++i) free += "□";
  EXPECT_THAT(text, HasSubstr("  " + used + free + "  "));
}

}  // namespace
}  // namespace kerf::cli
