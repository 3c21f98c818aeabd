// What is answered: request heads, routes, JSON and HTML. Sockets are in server_test.cc.
#include <regex>

#include "base/strings.h"
#include "http/page.h"
#include "http/request.h"
#include "http/site.h"
#include "http/status_json.h"
#include "nlohmann/json.hpp"
#include "page/sample_nodes.h"

namespace kerf::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Parsed parse(std::string_view text) { return parse_request(text); }

TEST(Request, IsReadWithPathAndQuery) {
  auto parsed = parse("GET /api/events?as=page HTTP/1.1\r\nHost: a\r\n\r\nrest");
  ASSERT_EQ(parsed.outcome, Parsed::Outcome::kRequest);
  EXPECT_EQ(parsed.request.method, "GET");
  EXPECT_EQ(parsed.request.path, "/api/events");
  EXPECT_EQ(parsed.request.query, "as=page");
  EXPECT_TRUE(parsed.request.keep_alive);
  EXPECT_EQ(parsed.consumed, 45u);
}

struct HeadCase {
  const char* name;
  std::string head;
  int status;  // 0: accepted; -1: incomplete
  bool keep_alive = false;
  friend std::ostream& operator<<(std::ostream& out, const HeadCase& test) {
    return out << test.name;
  }
};
class RequestHead : public ::testing::TestWithParam<HeadCase> {};
TEST_P(RequestHead, IsJudged) {
  const HeadCase& test = GetParam();
  auto parsed = parse(test.head);
  if (test.status == -1) {
    EXPECT_EQ(parsed.outcome, Parsed::Outcome::kIncomplete);
  } else if (test.status == 0) {
    ASSERT_EQ(parsed.outcome, Parsed::Outcome::kRequest) << parsed.reason;
    EXPECT_EQ(parsed.request.keep_alive, test.keep_alive);
  } else {
    ASSERT_EQ(parsed.outcome, Parsed::Outcome::kBad);
    EXPECT_EQ(parsed.status, test.status);
    EXPECT_NE(parsed.reason, "");
  }
}
const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n";
INSTANTIATE_TEST_SUITE_P(
    All, RequestHead,
    ::testing::Values(
        HeadCase{"Plain", kGet + "\r\n", 0, true},
        HeadCase{"BareLineFeeds", "GET / HTTP/1.1\nHost: a\n\n", 0, true},
        HeadCase{"LeadingEmptyLine", "\r\n" + kGet + "\r\n", 0, true},
        HeadCase{"AbsoluteTarget", "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 0, true},
        HeadCase{"Close", kGet + "Connection: x, Close\r\n\r\n", 0, false},
        HeadCase{"OldWithoutHost", "GET / HTTP/1.0\r\n\r\n", 0, false},
        HeadCase{"OldKeepAlive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, true},
        HeadCase{"BodyAnnounced", kGet + "Content-Length: 5\r\n\r\n", 0, false},
        HeadCase{"EmptyBody", kGet + "Content-Length: 0\r\n\r\n", 0, true},
        HeadCase{"Chunked", kGet + "Transfer-Encoding: chunked\r\n\r\n", 0, false},
        HeadCase{"NegativeLength", kGet + "Content-Length: -1\r\n\r\n", 0, false},
        HeadCase{"Nothing", "", -1}, HeadCase{"HalfALine", "GET / HT", -1},
        HeadCase{"NoEmptyLine", kGet, -1}, HeadCase{"OneWord", "GET\r\n\r\n", 400},
        HeadCase{"NoVersion", "GET /\r\n\r\n", 400},
        HeadCase{"VersionTwo", "PRI * HTTP/2.0\r\n\r\n", 505},
        HeadCase{"VersionOneTwo", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
        HeadCase{"NoSlash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        HeadCase{"BlankInPath", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        HeadCase{"NulInPath", std::string("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 30), 400},
        HeadCase{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        HeadCase{"TwoHosts", kGet + "Host: b\r\n\r\n", 400},
        HeadCase{"NoColon", kGet + "broken\r\n\r\n", 400},
        HeadCase{"BlankBeforeColon", kGet + "A : b\r\n\r\n", 400},
        HeadCase{"Folded", kGet + "A: b\r\n c\r\n\r\n", 400},
        HeadCase{"CarriageReturnInside", kGet + "A: b\rc\r\n\r\n", 400},
        HeadCase{"TlsHello", std::string("\x16\x03\x01\x02\x00", 5), 400},
        HeadCase{"LongLine", "GET /" + std::string(kMaxHead, 'a'), 414},
        HeadCase{"LongHeaders", kGet + "A: " + std::string(kMaxHead, 'a'), 431},
        HeadCase{"LongHeadersEnded", kGet + "A: " + std::string(kMaxHead, 'a') + "\r\n\r\n", 431}),
    [](const auto& test) { return test.param.name; });

Handler site(metrics::NodeStatus node) {
  return make_site({[node] { return node; }, [] { return std::string("kerf_x 1\n"); }});
}
Response get(const Handler& handler, std::string path, std::string method = "GET") {
  std::string query;
  if (auto mark = path.find('?'); mark != std::string::npos) {
    query = path.substr(mark + 1);
    path.resize(mark);
  }
  return handler({std::move(method), path, query, true});
}
std::string header(const Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

struct RouteCase {
  const char* method;
  const char* path;
  int status;
  const char* type;
  friend std::ostream& operator<<(std::ostream& out, const RouteCase& test) {
    return out << test.method << ' ' << test.path;
  }
};
class Route : public ::testing::TestWithParam<RouteCase> {};
TEST_P(Route, AnswersWithStatusAndType) {
  auto response = get(site(samples::healthy()), GetParam().path, GetParam().method);
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_THAT(response.content_type, StartsWith(GetParam().type));
  EXPECT_EQ(header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(header(response, "Allow"), response.status == 405 ? "GET, HEAD" : "");
}
INSTANTIATE_TEST_SUITE_P(
    All, Route,
    ::testing::Values(
        RouteCase{"GET", "/", 200, "text/html"}, RouteCase{"HEAD", "/", 200, "text/html"},
        RouteCase{"GET", "/metrics", 200, "text/plain; version=0.0.4"},
        RouteCase{"GET", "/metrics?a=b", 200, "text/plain; version=0.0.4"},
        RouteCase{"GET", "/health", 200, "application/json"},
        RouteCase{"GET", "/healthz", 200, "text/plain"},
        RouteCase{"GET", "/readyz", 200, "text/plain"},
        RouteCase{"GET", "/api/status", 200, "application/json"},
        RouteCase{"GET", "/api/events", 200, "text/event-stream"},
        RouteCase{"GET", "/nothing", 404, "text/plain"}, RouteCase{"GET", "//", 404, "text/plain"},
        RouteCase{"GET", "/metrics/", 404, "text/plain"},
        RouteCase{"GET", "/../etc/passwd", 404, "text/plain"},
        RouteCase{"POST", "/metrics", 405, "text/plain"},
        RouteCase{"DELETE", "/", 405, "text/plain"}, RouteCase{"BREW", "/", 501, "text/plain"}));

TEST(Health, SaysWhatIsWrongAndWhatToDo) {
  auto response = get(site(samples::one_unhealthy()), "/health");
  EXPECT_EQ(response.status, 200);
  auto json = nlohmann::json::parse(response.body);
  EXPECT_EQ(json["status"], "degraded");
  EXPECT_EQ(json["problems"].size(), 2u);
  EXPECT_THAT(json["problems"][0]["what"].get<std::string>(), HasSubstr("Xid 79"));
  EXPECT_THAT(json["problems"][0]["remedy"].get<std::string>(), HasSubstr("reset the GPU"));
}

TEST(Health, Is503WhenTheDriverFailsButNotWhileOneIsAwaited) {
  auto waiting = samples::no_driver();
  EXPECT_EQ(get(site(waiting), "/health").status, 200);
  EXPECT_EQ(get(site(waiting), "/readyz").status, 200);
  waiting.fail_on_init_error = true;
  EXPECT_EQ(get(site(waiting), "/health").status, 503);
  auto failed = samples::healthy();
  failed.driver.state = metrics::DriverState::kFailed;
  EXPECT_EQ(get(site(failed), "/health").status, 503);
  EXPECT_EQ(get(site(failed), "/healthz").status, 200);
}

TEST(Health, IsNoReasonToRestartWhileWeAnswer) {
  auto broken = samples::healthy();
  for (auto& gpu : broken.gpus) gpu.health = {false, "xid", "Xid 48", 0};
  EXPECT_EQ(get(site(broken), "/health").status, 503);
  auto parsed = parse_request("GET /health HTTP/1.1\r\nHost: a\r\nkerf-probe: Liveness\r\n\r\n");
  EXPECT_EQ(parsed.request.probe, "liveness");
  auto response = site(broken)(parsed.request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(nlohmann::json::parse(response.body)["status"], "failed");
  parsed.request.probe = "readiness";
  EXPECT_EQ(site(broken)(parsed.request).status, 503);
}

TEST(Ready, NamesTheResourceThatIsNotRegistered) {
  auto node = samples::healthy();
  node.resources[0].registered = false;
  auto response = get(site(node), "/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_THAT(response.body, HasSubstr("nvidia.com/gpu is not registered"));
}

TEST(StatusJson, ComesBackAsItWas) {
  for (const auto& sample : samples::all()) {
    std::string json = status_json(sample.make());
    ASSERT_TRUE(nlohmann::json::accept(json)) << sample.name;
    auto back = parse_status(json);
    ASSERT_TRUE(back) << sample.name;
    // Problems arrive computed; without the sender's own they are computed again.
    auto node = back->node;
    EXPECT_EQ(back->status, metrics::overall(node.problems));
    node.problems = sample.make().problems;
    if (sample.name == "hostile") continue;  // what is not UTF-8 comes back replaced
    EXPECT_EQ(status_json(node), json) << sample.name;
  }
}

TEST(StatusJson, OfAnotherVersionOrOfNothingIsNoCrash) {
  EXPECT_FALSE(parse_status(""));
  EXPECT_FALSE(parse_status("[]"));
  EXPECT_FALSE(parse_status("{\"x\":"));
  auto odd = parse_status(
      R"({"driver":7,"gpus":[{"index":-1,"uuid":3,"slices":{},"numa_node":"x"},null],)"
      R"("resources":[[]],"events":"none","problems":[1],"config":[],"kubelet":null})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->node.gpus.size(), 2u);
  EXPECT_EQ(odd->node.gpus[0].index, 0u);
}

TEST(Page, LetsNoTextBreakOut) {
  std::string page = render_page(samples::hostile(), "n");
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, HasSubstr("&lt;/script&gt;&lt;img"));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
  EXPECT_THAT(page, Not(HasSubstr("\xff")));
}

TEST(Page, AllowsOnlyItsOwnScriptAndStyle) {
  auto handler = site(samples::healthy());
  auto first = get(handler, "/"), second = get(handler, "/");
  std::string policy = header(first, "Content-Security-Policy");
  EXPECT_THAT(policy, StartsWith("default-src 'none'; script-src 'nonce-"));
  EXPECT_NE(policy, header(second, "Content-Security-Policy"));
  std::string nonce =
      std::regex_replace(policy, std::regex(".*script-src 'nonce-([0-9a-f]{32})'.*"), "$1");
  EXPECT_THAT(first.body, HasSubstr("<script nonce=\"" + nonce + "\">"));
  EXPECT_THAT(first.body, HasSubstr("<style nonce=\"" + nonce + "\">"));
  // Nothing from outside.
  EXPECT_THAT(first.body, Not(HasSubstr("http://")));
  EXPECT_THAT(first.body, Not(HasSubstr("https://")));
}

TEST(Page, ShowsTheNodeWithoutScripts) {
  std::string page = render_page(samples::one_unhealthy(), "n");
  for (const char* text :
       {"talos-worker-1", "580.126.09", "NVIDIA GeForce RTX 3090", "gpu-test-3", "Xid 79",
        "GPU-6f1e2d3c-4b5a-4978-8695-000000a1b2c3::3", "24 GiB", "0000:3b:00.0", "registered",
        "replicas must be 2 or more", "time-slicing × 4", "http-equiv=\"refresh\""}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
}

TEST(Page, OfALargeNodeStaysBelowOneMegabyte) {
  EXPECT_LT(render_page(samples::large(), "n").size(), 1u << 20);
}

TEST(Events, SplitTheirDataIntoLines) {
  auto node = samples::hostile();
  auto response = get(site(node), "/api/events?as=page");
  ASSERT_TRUE(response.events);
  std::string event = response.events->make();
  EXPECT_THAT(event, StartsWith("event: page\ndata: "));
  EXPECT_TRUE(event.ends_with("\n\n"));
  EXPECT_THAT(event, Not(HasSubstr("\r")));
  for (const std::string& line : split(event, '\n')) {
    EXPECT_TRUE(line.empty() || line.starts_with("data: ") || line.starts_with("event: ")) << line;
  }
  auto status = get(site(node), "/api/events").events->make();
  EXPECT_THAT(status, StartsWith("event: status\ndata: {\"status\":"));
}

TEST(Text, OfDurationsAndMemory) {
  EXPECT_EQ(duration_text(-5), "0 s");
  EXPECT_EQ(duration_text(59'999), "59 s");
  EXPECT_EQ(duration_text(61'000), "1 min");
  EXPECT_EQ(duration_text(7'384'000), "2 h 3 min");
  EXPECT_EQ(duration_text(90'000'000), "1 d 1 h");
  EXPECT_EQ(memory_text(24576), "24 GiB");
  EXPECT_EQ(memory_text(143771), "140.4 GiB");
  EXPECT_EQ(memory_text(512), "512 MiB");
}

struct AddressCase {
  const char* text;
  const char* host;
  int port;  // -1: refused
  friend std::ostream& operator<<(std::ostream& out, const AddressCase& test) {
    return out << '"' << test.text << '"';
  }
};
class Address : public ::testing::TestWithParam<AddressCase> {};
TEST_P(Address, IsSplitOrRefusedWithARemedy) {
  auto parsed = parse_host_port(GetParam().text);
  ASSERT_EQ(parsed.has_value(), GetParam().port >= 0);
  if (parsed) {
    EXPECT_EQ(parsed->host, GetParam().host);
    EXPECT_EQ(parsed->port, GetParam().port);
  } else {
    EXPECT_THAT(parsed.error().hint, HasSubstr(":2112"));
    EXPECT_EQ(parsed.error().subject, GetParam().text);
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, Address,
    ::testing::Values(AddressCase{":2112", "", 2112}, AddressCase{"127.0.0.1:0", "127.0.0.1", 0},
                      AddressCase{"[::1]:80", "::1", 80}, AddressCase{"host:1", "host", 1},
                      AddressCase{"2112", "", -1}, AddressCase{"", "", -1},
                      AddressCase{":65536", "", -1}, AddressCase{":http", "", -1},
                      AddressCase{"::1:80", "", -1}, AddressCase{"[::1:80", "", -1},
                      AddressCase{"[]:80", "", -1}, AddressCase{"a:-1", "", -1}));

}  // namespace
}  // namespace kerf::http
